// Long jobs: the file to download, the slow method, the batch.

import { Failed, follow, json, picture, request } from "./api.js";
import { $, busy, guarded, make, showResult, state, tell } from "./core.js";
import { job } from "./order.js";
import { preview } from "./preview.js";

export async function long(wanted, canKeep, shown) {
  if (state.work) throw new Failed(409, "busy", "Something is being made already: cancel it, or wait.");
  preview.stop();
  const stop = new AbortController();
  const work = (state.work = { id: null, stop });
  busy(0); // there is nothing to keep yet
  try {
    return await follow(await wanted, async (kind, data, id) => {
      if (kind === "made") {
        work.id = data.id;
        const seconds = data.forecast.seconds;
        const before = data.position ? `Waiting for ${data.position} other job${data.position > 1 ? "s" : ""}` : "Under way";
        tell(seconds ? `${before}, about ${clock(seconds)} …` : `${before} …`);
      }
      if (kind !== "step") return;
      busy(data.total ? data.done / data.total : 0, canKeep && data.n > 0);
      tellStep(data);
      await shown(id, data);
    }, stop.signal);
  } finally {
    state.work = null;
    busy(null);
  }
}

// How far a job is; the losses of a refinement are for screens with room.
function tellStep({ kind, done, total, seconds_left: seconds, note }) {
  const far = { final: `${done} %`, batch: `Photo ${Math.min(done + 1, total)} of ${total}: ${note}` }[kind] ?? `Step ${done} of ${total}`;
  tell([far, seconds === null || done === total ? "" : `${clock(seconds)} left`].filter(Boolean).join(" · "));
  if (kind === "refine" && note) $("message").append(make("span", { className: "wide-only", textContent: ` · ${note}` }));
}

// From ten minutes on without seconds: no forecast is exact to them.
export function clock(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  return whole < 600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.round(whole / 60)} min`;
}

// What the download will take, as the last pictures took.
export async function showForecast() {
  const { seconds, bytes } = await json("/api/v1/forecast", await job("final", { size: Number($("size").value) || null }));
  const time = seconds === null ? "" : `about ${clock(seconds)} and `;
  const memory = bytes < 1e9 ? `${Math.max(1, Math.round(bytes / 1e6))} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
  $("forecast").textContent = `Takes ${time}${memory} of memory.`;
}

export async function save(id) {
  const { url } = await json(`/api/v1/jobs/${id}/link`, {});
  make("a", { href: url, download: "" }).click();
}

export async function download() {
  const size = Number($("size").value) || null;
  const last = await long(job("final", { size, format: $("format").value }), false, () => {});
  if (last.state !== "done") return tell("Canceled.");
  await save(last.id);
  tell("Saved: it is among the browser's downloads.");
}

export async function refine() {
  let drawing = false;
  let [asked, seen] = [0, 0];
  const gatys = { iterations: Number($("iterations").value) || 150 };
  const show = async (id, isLast) => {
    if (drawing && !isLast) return; // a picture is on its way: the next one will be newer
    drawing = true;
    const turn = ++asked;
    try {
      const url = await picture(`/api/v1/jobs/${id}/picture?max=2048`);
      if (turn < seen) return URL.revokeObjectURL(url);
      seen = turn;
      showResult(url);
    } finally {
      drawing = false;
    }
  };
  const inPassing = (id) => show(id, false).catch(() => {}); // the job may end meanwhile: its events tell how
  const last = await long(job("refine", { size: Number($("refine-size").value) || 512, gatys, format: $("format").value }), true, inPassing);
  if (last.state !== "done") {
    tell("Canceled.");
    return state.changed();
  }
  await show(last.id, true);
  const button = make("button", { type: "button", className: "primary", textContent: "Save it", onclick: guarded(() => save(last.id)) });
  $("message").replaceChildren("Refined: ", button);
}

export async function batch() {
  const photos = state.photos.map((photo) => photo.id);
  const last = await long(job("batch", { photos, format: $("format").value, size: Number($("size").value) || null }), true, () => {});
  if (last.state !== "done") return tell("Canceled.");
  await save(last.id);
  tell("Saved: it is among the browser's downloads.");
}

export async function endWork(keep) {
  const { work } = state;
  if (!work) return preview.stop(true);
  if (work.id) await request(`/api/v1/jobs/${work.id}${keep ? "?keep=1" : ""}`, { method: "DELETE" });
  else work.stop.abort();
}
