// The page: pictures in, settings, the result. The network works in worker.mjs.
const $ = (selector) => document.querySelector(selector);
const MOST_PIXELS = 100e6;
const SMALLEST = 5; // pixels: the graphs mirror a border of four

// --- the worker ---------------------------------------------------------------------------------------------

const worker = new Worker("worker.mjs", { type: "module" });
const waiting = new Map();
let asked = 0;

worker.onmessage = ({ data: { id, error, ...answer } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  error ? reject(new Error(error)) : resolve(answer);
};
worker.onerror = () => say("This browser cannot run the network.", true);

const ask = (task, values = {}) =>
  new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, task, ...values });
  });

// --- pictures -----------------------------------------------------------------------------------------------

// A bitmap scaled by what `factorOf` makes of its sides, on white where it is transparent; of a long
// strip the middle, `strip` times as long as wide.
function scaled(bitmap, factorOf, strip = Infinity) {
  const width = Math.min(bitmap.width, strip * bitmap.height);
  const height = Math.min(bitmap.height, strip * bitmap.width);
  const factor = factorOf(width, height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(SMALLEST, Math.round(width * factor));
  canvas.height = Math.max(SMALLEST, Math.round(height * factor));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  const [left, top] = [(bitmap.width - width) / 2, (bitmap.height - height) / 2];
  context.drawImage(bitmap, left, top, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// Its long side at most so many pixels; or its short side exactly so many, as the network looks at paintings.
const within = (bitmap, side) => scaled(bitmap, (width, height) => Math.min(1, side / Math.max(width, height)));
const looked = (bitmap, side) => scaled(bitmap, (width, height) => side / Math.min(width, height), 4);

function pixels(canvas) {
  const { width, height } = canvas;
  const bytes = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  const data = new Float32Array(width * height * 3);
  for (let i = 0, j = 0; i < bytes.length; i += 4) for (let c = 0; c < 3; c++) data[j++] = bytes[i + c] / 255;
  return { data, width, height };
}

function show(canvas, { data, width, height }) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0, j = 0; i < image.data.length; i += 4) {
    for (let c = 0; c < 3; c++) image.data[i + c] = Math.round(255 * data[j++]); // cut to 0..255 by itself
    image.data[i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// --- state and work -----------------------------------------------------------------------------------------

const bitmaps = {};
let facts, embedding, running = false, again = false;

function say(text, wrong = false) {
  $("#said").textContent = text;
  $("#said").classList.toggle("wrong", wrong);
}

async function take(which, file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return say(`${file.name ?? "This file"} is no picture that this browser can read.`, true);
  }
  if (bitmap.width * bitmap.height > MOST_PIXELS) return say("This picture has more than 100 megapixels.", true);
  bitmaps[which] = bitmap;
  if (which === "painting") embedding = null;
  const canvas = $(`#${which} canvas`);
  show(canvas, pixels(within(bitmap, 480)));
  work();
}

// Paints with what is chosen now; a change while it works makes it begin once more.
async function work() {
  if (running) return void (again = true);
  if (!bitmaps.photo || !bitmaps.painting || !facts) return;
  running = true;
  do {
    again = false;
    try {
      await once();
    } catch (error) {
      say(`It did not work: ${error.message}`, true);
    }
  } while (again);
  running = false;
}

async function once() {
  say("Painting ...");
  const begun = performance.now();
  embedding ??= (await ask("embed", { painting: pixels(looked(bitmaps.painting, facts.style_size)) })).embedding;
  const strength = $("#strength").value / 100;
  const photo = pixels(within(bitmaps.photo, Number($("#size").value)));
  const small = strength < 1 ? pixels(looked(bitmaps.photo, facts.style_size)) : null;
  const { picture } = await ask("stylize", { photo, small, style: embedding, strength });
  if (again) return;
  show($("#result"), picture);
  $("#save").disabled = false;
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  say(`${picture.width} x ${picture.height} pixels in ${seconds} seconds`);
}

// --- what the user does -------------------------------------------------------------------------------------

for (const which of ["photo", "painting"]) {
  const box = $(`#${which}`);
  const input = box.querySelector("input");
  input.addEventListener("change", () => input.files[0] && take(which, input.files[0]));
  box.addEventListener("dragover", (event) => (event.preventDefault(), box.classList.add("over")));
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    const file = event.dataTransfer.files[0];
    file ? take(which, file) : say("Drop a file of a picture.", true);
  });
}
// A file that misses its box is not to replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

$("#strength").addEventListener("input", () => ($("#percent").textContent = `${$("#strength").value} %`));
for (const id of ["#strength", "#size"]) $(id).addEventListener("change", work);

$("#save").addEventListener("click", () =>
  $("#result").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "nanostyle.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }),
);

// --- start --------------------------------------------------------------------------------------------------

try {
  facts = await (await fetch("model.json")).json();
  $("#license").textContent = facts.license;
  await ask("load");
  for (const which of ["photo", "painting"]) {
    if (!bitmaps[which]) await take(which, await (await fetch(`${which}.jpg`)).blob());
  }
  work();
} catch (error) {
  say(`The network could not be loaded: ${error.message}`, true);
}
