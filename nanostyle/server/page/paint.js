// Painting a mask on the stage: from the tools of the panel to the mask of the style that is chosen there.

import { $, state, viewer } from "./core.js";
import { Painter } from "./mask.js";
import { maskOf } from "./order.js";

export function startPainting() {
  if (!state.photo || !state.chosen.length) return;
  const mask = maskOf($("mask-style").value);
  const brush = () => ({
    size: (Number($("brush-size").value) / 600) * Math.max(mask.canvas.width, mask.canvas.height),
    edge: Number($("brush-edge").value),
    white: document.querySelector("input[name=tool]:checked").value === "brush",
  });
  viewer.painter = new Painter(mask, brush, (over) => {
    mask.show($("veil"));
    if (over) state.changed();
  });
  mask.show($("veil"));
  viewer.only(true); // the handle would be in the finger's way
  $("veil").hidden = false;
  $("view").classList.add("painting");
  $("mask-paint").setAttribute("aria-pressed", "true");
}

export function stopPainting() {
  viewer.painter = null;
  $("veil").hidden = true;
  $("view").classList.remove("painting");
  $("mask-paint").setAttribute("aria-pressed", "false");
}

export function withMask(action) {
  return () => {
    if (!state.photo || !state.chosen.length) return;
    action(maskOf($("mask-style").value));
    startPainting();
    state.changed();
  };
}
