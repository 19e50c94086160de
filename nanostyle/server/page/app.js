// The page: what is chosen, and what follows from each change.

import { Failed, client, events, json, picture, request, setToken, upload } from "./api.js";
import { Camera, available } from "./camera.js";
import { $, STROKES, failed, guarded, hideImage, make, on, saveBlob, showImage, showResult, state, tell, viewer } from "./core.js";
import { listenForDrops } from "./drops.js";
import { command, job, maskName, maskOf, outputSize } from "./order.js";
import { startPainting, stopPainting, withMask } from "./paint.js";
import { offerRecipe } from "./recipe.js";
import { preview } from "./preview.js";
import { listStyles, shareOf } from "./styles.js";
import { batch, download, endWork, refine, showForecast } from "./work.js";

// --- photos ---------------------------------------------------------------------------------------------------

async function addPhotos(files) {
  for (const file of files) {
    tell(`Reading ${file.name || "the picture"} …`);
    try {
      const photo = await upload(file);
      if (!state.photos.some((known) => known.id === photo.id)) state.photos.push(photo);
      await choosePhoto(photo);
    } catch (error) {
      failed(error);
    }
  }
  drawStrip();
}

async function choosePhoto(photo) {
  stopPainting();
  state.photo = photo;
  state.masks.clear();
  $("empty").hidden = true;
  $("viewer").hidden = false;
  preview.stop();
  hideImage("result");
  const url = await picture(`/api/v1/pictures/${photo.id}?max=2048`);
  if (state.photo !== photo) return URL.revokeObjectURL(url); // another one was chosen meanwhile
  showImage("photo", url);
  $("photo").alt = `The photo ${photo.name}`;
  viewer.setSize(photo.width, photo.height);
  viewer.fit();
  viewer.only(true);
  state.compared = false;
  $("subject").textContent = `${photo.name}, ${photo.width} × ${photo.height}`;
  tell(state.chosen.length ? "" : "Now choose a style.");
  $("size").placeholder = Math.max(photo.width, photo.height);
  drawChosen();
  changed();
  $("offer").hidden = true;
  if (photo.recipe) offerRecipe(photo.recipe, (chosen) => {
    state.chosen = chosen;
    markStyles();
    drawChosen();
    changed();
  });
}

function drawStrip() {
  $("strip").hidden = state.photos.length < 2;
  $("strip").replaceChildren(...state.photos.map((photo) => {
    const image = make("img", { alt: photo.name });
    photo.thumbnail ??= picture(`/api/v1/pictures/${photo.id}?max=128`);
    photo.thumbnail.then((url) => (image.src = url)).catch(failed);
    const button = make("button", { type: "button", title: photo.name, onclick: guarded(() => choosePhoto(photo)) }, image);
    button.setAttribute("aria-pressed", String(photo === state.photo));
    return make("li", {}, button);
  }));
  $("remove-photo").hidden = state.photos.length < 2;
  const many = state.photos.length;
  $("batch").disabled = many < 2 || !state.chosen.length;
  $("batch-hint").textContent = many < 2 ? "Add two photos or more." : `${many} photos with these settings.`;
}

async function removePhoto() {
  const gone = state.photo;
  const at = state.photos.indexOf(gone);
  state.photos = state.photos.filter((photo) => photo !== gone);
  await choosePhoto(state.photos[Math.min(at, state.photos.length - 1)]);
  drawStrip();
  await request(`/api/v1/pictures/${gone.id}`, { method: "DELETE" });
}

// --- styles ---------------------------------------------------------------------------------------------------

async function addPaintings(files) {
  for (const file of files) {
    const painting = await upload(file);
    const thumbnail = picture(`/api/v1/pictures/${painting.id}?max=192`);
    const style = { key: `painting/${painting.id}`, name: painting.name, label: painting.label, painting: painting.id, thumbnail };
    if (!state.styles.some((known) => known.key === style.key)) state.styles.unshift(style);
    drawStyles();
    choose(style, false);
  }
}

function choose(style, add) {
  const known = state.chosen.findIndex((chosen) => chosen.key === style.key);
  if (add && known >= 0) state.chosen.splice(known, 1);
  else if (add && state.chosen.length < 8) state.chosen.push({ ...style, weight: 1 });
  else if (!add) state.chosen = [{ ...style, weight: 1 }];
  markStyles();
  drawChosen();
  changed();
}

function markStyles() {
  $("styles").querySelectorAll("button").forEach((button, i) => {
    button.setAttribute("aria-pressed", String(state.chosen.some((chosen) => chosen.key === state.styles[i].key)));
  });
}

function drawStyles() {
  $("styles").replaceChildren(...state.styles.map((style) => {
    const image = make("img", { alt: "" });
    style.thumbnail.then((url) => (image.src = url)).catch(failed);
    const button = make("button", { type: "button", title: style.label }, image, make("span", { textContent: style.label }));
    let held = null;
    let long = false;
    button.onpointerdown = () => {
      long = false;
      held = setTimeout(() => { long = true; choose(style, true); }, 550);
    };
    button.onpointerup = button.onpointerleave = button.onpointercancel = () => clearTimeout(held);
    button.oncontextmenu = (event) => event.preventDefault();
    button.onclick = (event) => { if (!long) choose(style, event.ctrlKey || event.metaKey || event.shiftKey); };
    button.onkeydown = (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return; // which is no click
      event.preventDefault();
      choose(style, true);
    };
    return make("li", {}, button);
  }));
  markStyles();
}

function drawChosen() {
  const many = state.chosen.length > 1;
  $("chosen").replaceChildren(...(many ? state.chosen : []).map((style) => {
    const share = make("output", { textContent: shareOf(style) });
    const slider = make("input", { type: "range", min: 0.05, max: 2, step: 0.05, value: style.weight });
    slider.setAttribute("aria-label", `Part of ${style.label}`);
    slider.oninput = () => {
      style.weight = Number(slider.value);
      $("chosen").querySelectorAll("output").forEach((output, i) => (output.textContent = shareOf(state.chosen[i])));
      changed();
    };
    const out = make("button", { type: "button", textContent: "×", onclick: () => {
      choose(style, true);
      $("styles").children[state.styles.findIndex((known) => known.key === style.key)]?.firstChild.focus();
    } });
    out.setAttribute("aria-label", `Without ${style.label}`);
    return make("li", {}, make("span", { textContent: style.label }), share, out, slider);
  }));
  const ready = Boolean(state.photo && state.chosen.length);
  $("mask-tools").hidden = !ready;
  $("mask-hint").hidden = ready;
  $("mask-style").replaceChildren(...state.chosen.map((style) => make("option", { value: style.key, textContent: style.label })));
  for (const key of state.masks.keys()) if (!state.chosen.some((style) => style.key === key)) state.masks.delete(key);
  if (!state.chosen.length) stopPainting();
  $("refine").disabled = !state.chosen.some((style) => style.painting);
  drawStrip();
}

function changed() {
  describe();
  if (state.photo && state.chosen.length && !state.work && !state.camera) preview.start(state.photo);
}

// The download's size changes what it takes, and no preview.
let rest = 0;
function sizeChanged() {
  describe();
  $("forecast").textContent = "";
  clearTimeout(rest);
  if (state.photo && state.chosen.length) rest = setTimeout(() => showForecast().catch(failed), 200);
}

function describe() {
  const [name] = STROKES[$("strokes").value];
  $("strength-value").textContent = `${Math.round(100 * $("strength").value)} %`;
  $("strokes-value").textContent = name;
  $("strokes").setAttribute("aria-valuetext", name);
  $("brush-value").textContent = $("brush-size").value;
  $("edge-value").textContent = `${Math.round(100 * $("brush-edge").value)} %`;
  const ready = Boolean(state.photo && state.chosen.length);
  $("download").disabled = !ready;
  $("download").textContent = ready ? `Download ${outputSize().join(" × ")}` : "Download";
  if (!ready) $("forecast").textContent = "";
  $("command").textContent = command();
}

// --- camera ---------------------------------------------------------------------------------------------------

function frameSettings() {
  const style = state.chosen[0];
  if (!style) throw new Failed(400, "style", "Choose a style first.");
  return { ...(style.painting ? { painting: style.painting } : { style: style.name, model: style.model }), strength: $("strength").value };
}

async function toggleCamera() {
  if (state.camera) return stopCamera();
  frameSettings();
  preview.stop();
  state.camera = new Camera(frameSettings, (url) => {
    $("empty").hidden = true;
    $("viewer").hidden = false;
    showResult(url);
    tell(`Camera at ${state.camera?.side ?? 0} pixels`);
    $("result").decode().then(() => {
      const { naturalWidth: w, naturalHeight: h } = $("result");
      if (state.camera && (viewer.width !== w || viewer.height !== h)) viewer.setSize(w, h);
    }).catch(() => {});
  }, (error) => { stopCamera(); failed(error); });
  hideImage("photo");
  viewer.only(true);
  await state.camera.start();
  $("camera").textContent = "Stop the camera";
  $("take").hidden = false;
}

function stopCamera() {
  state.camera?.stop();
  state.camera = null;
  $("camera").textContent = "Start the camera";
  $("take").hidden = true;
  if (state.photo) guarded(choosePhoto)(state.photo);
}

async function take() {
  const file = new File([await state.camera.frame(4096)], "camera.jpg", { type: "image/jpeg" });
  state.photo = null; // the new one takes its place
  stopCamera();
  await addPhotos([file]);
}

// --- wiring ---------------------------------------------------------------------------------------------------

function listen() {
  for (const id of ["add-photos", "choose-photo"]) on(id, "click", () => $("photo-files").click());
  on("photo-files", "change", async (event) => { await addPhotos([...event.target.files]); event.target.value = ""; });
  on("add-painting", "click", () => $("painting-files").click());
  on("painting-files", "change", async (event) => { await addPaintings([...event.target.files]); event.target.value = ""; });
  for (const id of ["strength", "strokes", "brush-size", "brush-edge"]) on(id, "input", changed);
  on("size", "input", sizeChanged);
  on("strength", "input", () => { $("result").style.opacity = Math.max(0.05, Number($("strength").value)); });
  document.querySelectorAll("input[name=colors]").forEach((radio) => radio.addEventListener("change", changed));
  on("fit", "click", () => viewer.fit());
  on("actual", "click", () => viewer.actual());
  on("swap", "click", () => viewer.swap());
  let before = null; // where the handle was
  const hold = () => {
    before ??= viewer.at;
    viewer.only(false);
  };
  const release = () => {
    if (before !== null) viewer.compare(before);
    before = null;
  };
  on("hold", "pointerdown", hold);
  on("hold", "keydown", (event) => { if (event.key === " " || event.key === "Enter") hold(); });
  for (const kind of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) on("hold", kind, release);
  on("remove-photo", "click", removePhoto);
  on("mask-paint", "click", () => (viewer.painter ? stopPainting() : startPainting()));
  on("mask-style", "change", () => { if (viewer.painter) startPainting(); });
  on("mask-undo", "click", withMask((mask) => mask.undo()));
  on("mask-fill", "click", withMask((mask) => mask.fill(255)));
  on("mask-invert", "click", withMask((mask) => mask.invert()));
  on("mask-clear", "click", () => { state.masks.clear(); stopPainting(); changed(); });
  on("mask-save", "click", async () => {
    const style = state.chosen.find(({ key }) => key === $("mask-style").value);
    saveBlob(await maskOf(style.key).blob(), maskName(style));
  });
  on("download", "click", download);
  on("refine", "click", refine);
  on("batch", "click", batch);
  on("cancel", "click", () => endWork(false));
  on("keep", "click", () => endWork(true));
  on("camera", "click", toggleCamera);
  on("take", "click", take);
  on("copy", "click", async () => { await navigator.clipboard.writeText($("command").textContent); tell("Copied."); });
  for (const id of ["command-kind", "format"]) {
    $(id).value = localStorage.getItem(`nanostyle-${id}`) ?? $(id).value;
    if (!$(id).value) $(id).selectedIndex = 0; // of another version
    on(id, "change", () => {
      localStorage.setItem(`nanostyle-${id}`, $(id).value);
      $("command").textContent = command();
    });
  }
  preview.shown = guarded(() => {
    // The first result of a photo is beside it at once; after that the handle stays where it is put.
    if (!state.compared) viewer.compare(0.5);
    state.compared = true;
    return showForecast();
  });
  $("token-dialog").addEventListener("close", guarded(async () => { setToken($("token").value); await begin(); }));
  document.querySelectorAll("#tabs button").forEach((tab) => tab.addEventListener("click", () => {
    document.querySelectorAll("#tabs button").forEach((other) => other.setAttribute("aria-pressed", String(other === tab)));
    $("panel").dataset.tab = tab.dataset.tab;
    if (tab.dataset.tab === "mask") $("mask-box").open = true;
    document.querySelector("main").scrollTo(0, 0);
  }));
  listenForDrops(addPhotos, addPaintings);
}

async function begin() {
  state.info = await json("/api/v1/info");
  state.styles = state.styles.filter((style) => style.painting);
  listStyles(state.info);
  drawStyles();
  drawChosen();
  const { version, device, threads } = state.info;
  $("queue").textContent = `${version}, ${device}, ${threads} thread${threads === 1 ? "" : "s"}`;
  for (const photo of state.info.photos || []) if (!state.photos.some((known) => known.id === photo.id)) state.photos.push(photo);
  if (!state.photo && state.photos.length) await choosePhoto(state.photos[0]);
  else tell("Add a photo and choose a style.");
  drawStrip();
  changed();
}

$("panel").dataset.tab = "styles";
$("camera-hint").textContent = available() ? "What the camera sees, in the first chosen style."
  : "A browser gives the camera to a page on this machine or over HTTPS alone. Take a photo with the phone and add it.";
$("camera").hidden = !available();
window.nanostyle = { client, events, state, viewer, preview }; // for the tests of the page
state.changed = changed;
listen();
guarded(begin)();
