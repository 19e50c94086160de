// Files that are dropped or pasted: on the settings they are paintings, elsewhere photos.

import { $, guarded } from "./core.js";

export function listenForDrops(addPhotos, addPaintings) {
  let depth = 0;
  const shown = (open) => { $("drop").hidden = !open; };
  const overPanel = (event) => Boolean(event.target.closest?.("#panel"));
  addEventListener("dragenter", (event) => { event.preventDefault(); depth++; shown(true); });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").dataset.over = overPanel(event) ? "painting" : "photo";
  });
  addEventListener("dragleave", () => { if (--depth <= 0) shown(false); });
  addEventListener("drop", guarded(async (event) => {
    event.preventDefault();
    depth = 0;
    shown(false);
    const files = [...event.dataTransfer.files];
    await (overPanel(event) ? addPaintings(files) : addPhotos(files));
  }));
  addEventListener("paste", guarded((event) => {
    const files = [...event.clipboardData.files];
    return files.length ? addPhotos(files) : undefined;
  }));
}
