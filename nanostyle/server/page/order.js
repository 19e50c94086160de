// What is asked of the server: the settings as a job, and as a command.

import { upload } from "./api.js";
import { $, STROKES, state } from "./core.js";
import { Mask } from "./mask.js";

export function maskOf(key) {
  if (!state.masks.has(key)) state.masks.set(key, new Mask(state.photo.width, state.photo.height));
  return state.masks.get(key);
}

// A style without a mask beside one that has one is everywhere.
async function maskId(style) {
  const mask = maskOf(style.key);
  if (mask.sent !== mask.changed) {
    const file = new File([await mask.blob()], `mask ${style.label}.png`);
    mask.id = (await upload(file)).id;
    mask.sent = mask.changed;
  }
  return mask.id;
}

export async function layers(only = () => true) {
  const chosen = state.chosen.filter(only);
  const masked = chosen.some((style) => state.masks.has(style.key));
  return Promise.all(chosen.map(async (style) => {
    if (masked && !state.masks.has(style.key)) maskOf(style.key).fill(255);
    return {
      ...(style.painting ? { painting: style.painting } : { style: style.name, model: style.model }),
      ...(masked ? { mask: await maskId(style) } : { weight: style.weight }),
    };
  }));
}

export async function job(kind, more = {}) {
  const painted = { strength: Number($("strength").value), strokes: STROKES[$("strokes").value][1] };
  return {
    kind,
    ...(kind === "batch" ? {} : { photo: state.photo.id }),
    layers: await layers(kind === "refine" ? (style) => style.painting : undefined),
    ...(kind === "refine" ? {} : painted),
    colors: document.querySelector("input[name=colors]:checked").value,
    ...more,
  };
}

export function outputSize() {
  const { width, height } = state.photo;
  const side = Number($("size").value) || Math.max(width, height);
  return [width, height].map((n) => Math.max(1, Math.round((n * side) / Math.max(width, height))));
}

export function command() {
  if (!state.photo || !state.chosen.length) return "Choose a photo and a style.";
  const quote = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const parts = ["nanostyle stylize", quote(state.photo.name)];
  for (const style of state.chosen) parts.push(style.painting ? "--style-image" : "--style", quote(style.name));
  if (state.chosen.length > 1) for (const style of state.chosen) parts.push("--weight", String(style.weight));
  if (Number($("strength").value) < 1) parts.push("--strength", $("strength").value);
  if (STROKES[$("strokes").value][1]) parts.push("--strokes", String(STROKES[$("strokes").value][1]));
  if (document.querySelector("input[name=colors]:checked").value === "content") parts.push("--colors content");
  if ($("size").value) parts.push("--size", $("size").value);
  return parts.join(" ");
}
