// The camera: one frame under way at a time, so the server sets the pace; the size follows from the time it takes.

import { Failed, client, request } from "./api.js";

const [LEAST, MOST] = [192, 640];
const STEP = 32;
const GOAL = 1000 / 8; // ms for a frame

export function available() {
  return Boolean(window.isSecureContext && navigator.mediaDevices?.getUserMedia);
}

export class Camera {
  constructor(settings, shown, failed) {
    this.settings = settings; // () => the query of a frame
    this.shown = shown;
    this.failed = failed;
    this.side = this.wish = 320;
    this.running = false;
    this.frames = 0;
  }

  async start() {
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false });
    this.video = Object.assign(document.createElement("video"), { srcObject: this.stream, muted: true, playsInline: true });
    await this.video.play();
    this.running = true;
    this.loop();
  }

  stop() {
    this.running = false;
    this.stream?.getTracks().forEach((track) => track.stop());
  }

  frame(side) {
    const { videoWidth: w, videoHeight: h } = this.video;
    const scale = Math.min(1, side / Math.max(w, h));
    const canvas = Object.assign(document.createElement("canvas"), { width: Math.max(8, Math.round(w * scale)), height: Math.max(8, Math.round(h * scale)) });
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  }

  async loop() {
    while (this.running) {
      const begin = performance.now();
      try {
        const body = await this.frame(this.side);
        const query = new URLSearchParams({ ...this.settings(), stream: client });
        const answer = await request(`/api/v1/frames?${query}`, { method: "POST", body });
        if (this.running) this.shown(URL.createObjectURL(await answer.blob()));
        this.frames++;
      } catch (error) {
        if (!(error instanceof Failed) || error.status !== 429) {
          this.stop();
          this.failed(error);
          return;
        }
        await new Promise((done) => setTimeout(done, 100));
      }
      const took = performance.now() - begin;
      const wanted = this.side * Math.sqrt(GOAL / took);
      this.wish = Math.min(MOST, Math.max(LEAST, 0.7 * this.wish + 0.3 * wanted));
      // In steps: strokes stay where they are only as long as the size does.
      if (Math.abs(this.wish - this.side) >= STEP) this.side = STEP * Math.round(this.wish / STEP);
    }
  }
}
