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
    const file = new File([await mask.blob()], maskName(style));
    mask.id = (await upload(file)).id;
    mask.sent = mask.changed;
  }
  return mask.id;
}

export async function layers(only = () => true) {
  const chosen = state.chosen.filter(only);
  const masked = isMasked(chosen);
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

export function isMasked(chosen = state.chosen) {
  return chosen.some((style) => state.masks.has(style.key));
}

export const maskName = (style) => `mask ${style.label}.png`;

export function command() {
  if (!state.photo || !state.chosen.length) return "Choose a photo and a style.";
  const chosen = [...state.chosen].sort((a, b) => Boolean(b.painting) - Boolean(a.painting)); // paintings first, as stylize has them
  return $("command-kind").value === "curl" ? curl(chosen) : shell(chosen);
}

const quote = (text) => (/^[\w./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// The settings that differ from their defaults, as [name, value].
function settings() {
  const found = [];
  if (Number($("strength").value) < 1) found.push(["strength", $("strength").value]);
  if (STROKES[$("strokes").value][1]) found.push(["strokes", String(STROKES[$("strokes").value][1])]);
  if (document.querySelector("input[name=colors]:checked").value === "content") found.push(["colors", "content"]);
  if ($("size").value) found.push(["size", $("size").value]);
  return found;
}

function shell(chosen) {
  const parts = ["nanostyle stylize", quote(state.photo.name)];
  for (const style of chosen) parts.push(style.painting ? "--style-image" : "--style", quote(style.name));
  if (isMasked()) for (const style of chosen) parts.push("--mask", quote(maskName(style)));
  else if (chosen.length > 1) for (const style of chosen) parts.push("--weight", String(style.weight));
  for (const [name, value] of settings()) parts.push(`--${name}`, value);
  return parts.join(" ");
}

// Of a form the server takes names first, then paintings.
function curl(chosen) {
  const parts = ['curl -H "Authorization: Bearer $NANOSTYLE_TOKEN"', `-F ${quote(`file=@${state.photo.name}`)}`];
  const ordered = [...chosen].sort((a, b) => Boolean(a.painting) - Boolean(b.painting));
  for (const style of ordered) parts.push(`-F ${quote(style.painting ? `style_image=@${style.name}` : `style=${style.name}`)}`);
  if (isMasked()) for (const style of ordered) parts.push(`-F ${quote(`mask=@${maskName(style)}`)}`);
  else if (chosen.length > 1) for (const style of ordered) parts.push(`-F weight=${style.weight}`);
  for (const [name, value] of settings()) parts.push(`-F ${name}=${value}`);
  const format = $("format").value;
  parts.push(`-F format=${format}`, `${location.origin}/stylize`, `-o result.${format === "jpeg" ? "jpg" : format}`);
  return parts.join(" ");
}
