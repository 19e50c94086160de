// Previews: a small draft at once, larger ones when the settings rest. A newer wish always takes the place of an older one.

import { Failed, follow, json, picture } from "./api.js";
import { busy, showResult, state, tell } from "./core.js";
import { job } from "./order.js";

// Long side, and the milliseconds of rest before it is asked for.
const STAGES = [[256, 0], [512, 200], [1024, 600]];
const SHOW_AFTER = 400; // ms: a quicker one needs no bar
const LONGEST = 1.0; // seconds that the largest preview may be expected to take

class Preview {
  constructor() {
    this.run = 0;
    this.timers = [];
    this.made = 0;
    this.under = null;
    this.shown = () => {}; // called after each preview
  }

  start(photo) {
    this.stop();
    const run = ++this.run;
    const long = Math.max(photo.width, photo.height);
    for (const [side, rest] of STAGES) {
      if (side !== STAGES[0][0] && side / 2 >= long) continue;
      this.timers.push(setTimeout(() => this.ask(run, Math.max(16, Math.min(side, long))), rest));
    }
  }

  stop(told = false) {
    this.run++;
    this.timers.forEach(clearTimeout);
    this.timers = [];
    this.under?.abort();
    this.under = null;
    if (!state.work) busy(null);
    if (told) tell("Canceled.");
  }

  async ask(run, side) {
    const before = this.waiting;
    let over = () => {};
    this.waiting = new Promise((done) => (over = done));
    await before; // one at a time: the draft is seen before the larger one is begun
    try {
      if (run !== this.run || (side > 512 && (await forecast(side)) > LONGEST)) return;
      if (run === this.run) await this.make(run, side);
    } catch (error) {
      const gone = error.name === "AbortError" || ["superseded", "canceled"].includes(error.code);
      if (!gone && run === this.run) tell(error.message, !(error instanceof Failed && error.code === "busy"));
    } finally {
      over();
      if (run === this.run) {
        this.under = null;
        busy(null);
      }
    }
  }

  async make(run, side) {
    const stop = (this.under = new AbortController());
    const begin = performance.now();
    setTimeout(() => {
      if (this.under !== stop) return;
      busy(undefined);
      tell("Painting a preview …");
    }, SHOW_AFTER);
    const wanted = await job("preview", { size: side });
    if (run !== this.run) return;
    const last = await follow(wanted, () => {}, stop.signal);
    if (last.state !== "done") return;
    const url = await picture(`/api/v1/jobs/${last.id}/picture?max=${side}`, { signal: stop.signal });
    if (run !== this.run) return URL.revokeObjectURL(url);
    const seconds = (performance.now() - begin) / 1000;
    this.made++;
    showResult(url);
    tell(`Preview at ${Math.round(side)} pixels, ${seconds.toFixed(1)} s`);
    this.shown();
  }
}

// Seconds, as the smaller previews took them: the server knows how many passes a picture needs.
async function forecast(side) {
  return (await json("/api/v1/forecast", await job("preview", { size: side }))).seconds;
}

export const preview = new Preview();
