// What all parts of the page share: its state, the line that tells, and small helpers.

import { Failed } from "./api.js";
import { Viewer } from "./compare.js";

export const $ = (id) => document.getElementById(id);
export const STROKES = [["automatic", null], ["fine", 2048], ["small", 1024], ["medium", 768], ["large", 512], ["huge", 320]];

// work: the long job under way, { id, stop }. changed: called after each change of the settings. compared: whether the
// photo was shown beside its result.
export const state = { info: null, photos: [], photo: null, styles: [], chosen: [], masks: new Map(), work: null, camera: null, compared: false, changed: () => {} };
export const viewer = new Viewer();

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const child of children) element.append(child);
  return element;
}

export function tell(text, isError = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", isError);
}

export function failed(error) {
  if (error.name === "AbortError") return;
  if (error instanceof Failed && error.status === 401) $("token-dialog").showModal();
  else if (!["superseded", "canceled"].includes(error.code)) tell(error.message, true);
}

export function guarded(action) {
  return (...args) => Promise.resolve().then(() => action(...args)).catch(failed);
}

export function on(id, kind, action) {
  $(id).addEventListener(kind, guarded(action));
}

export function busy(fraction, canKeep = false) {
  $("progress").hidden = fraction === null;
  if (fraction === undefined) $("progress").removeAttribute("value"); // under way, nobody knows how far
  else $("progress").value = fraction ?? 0;
  $("cancel").hidden = fraction === null;
  $("keep").hidden = fraction === null || !canKeep;
}

export function showImage(id, url) {
  const image = $(id);
  const old = image.src;
  image.src = url;
  image.hidden = false;
  if (old.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(old), 1000);
}

export function saveBlob(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function hideImage(id) {
  $(id).removeAttribute("src");
  $(id).hidden = true;
}

export function showResult(url) {
  showImage("result", url);
  $("result").style.opacity = 1;
  viewer.draw();
}
