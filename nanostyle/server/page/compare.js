// The picture on the stage: result over photo with a handle between them, zoom and pan for both at once.

const KNOB = 22; // px: half the width of the handle
const LABEL_ROOM = 90; // px
const $ = (id) => document.getElementById(id);

export class Viewer {
  constructor() {
    this.view = $("view");
    this.layers = $("layers");
    this.handle = $("handle");
    this.at = 1; // how far from the left the result reaches
    this.swapped = false; // the result is to the right of the handle
    this.scale = 1;
    this.x = this.y = 0;
    this.fitted = true;
    this.width = this.height = 1;
    this.pointers = new Map();
    this.painter = null; // takes the first pointer while a mask is painted
    this.listen();
  }

  setSize(width, height) {
    this.width = width;
    this.height = height;
    this.layers.style.width = width + "px";
    this.layers.style.height = height + "px";
    if (this.fitted) this.fit();
  }

  fit() {
    const { clientWidth: w, clientHeight: h } = this.view;
    this.scale = Math.min(w / this.width, h / this.height) * 0.98;
    this.x = (w - this.width * this.scale) / 2;
    this.y = (h - this.height * this.scale) / 2;
    this.fitted = true;
    this.draw();
  }

  actual() {
    const { clientWidth: w, clientHeight: h } = this.view;
    this.zoom(1 / (devicePixelRatio || 1) / this.scale, w / 2, h / 2);
  }

  zoom(factor, x, y) {
    const scale = Math.min(Math.max(this.scale * factor, 0.02), 16);
    const real = scale / this.scale;
    this.x = x - (x - this.x) * real;
    this.y = y - (y - this.y) * real;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.draw();
  }

  compare(at) {
    this.at = Math.min(Math.max(at, 0), 1);
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.at * 100)));
    this.draw();
  }

  draw() {
    this.layers.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    const left = Math.min(Math.max(this.x, 0), this.view.clientWidth);
    const right = Math.min(Math.max(this.x + this.width * this.scale, 0), this.view.clientWidth);
    const line = left + (right - left) * this.at;
    for (const id of ["handle", "swap", "hold"]) $(id).hidden = $("result").hidden;
    // At either end the knob stays whole.
    this.handle.style.left = Math.min(Math.max(line, KNOB), this.view.clientWidth - KNOB) + "px";
    this.handle.classList.toggle("end", this.at === 0 || this.at === 1);
    const shown = ((line - this.x) / (this.width * this.scale)) * 100;
    $("result").style.clipPath = this.swapped ? `inset(0 0 0 ${shown}%)` : `inset(0 ${100 - shown}% 0 0)`;
    this.label(left, line, right);
  }

  // What is on which side, above the picture, as long as there are two sides.
  label(left, line, right) {
    const both = !$("result").hidden && this.at > 0 && this.at < 1;
    const names = this.swapped ? ["Photo", "Result"] : ["Result", "Photo"];
    [[$("label-left"), line - left], [$("label-right"), right - line]].forEach(([label, room], i) => {
      label.textContent = names[i];
      label.hidden = !both || room < LABEL_ROOM;
    });
    const top = Math.max(this.y, 0) + "px";
    Object.assign($("label-left").style, { left: left + "px", top });
    Object.assign($("label-right").style, { right: this.view.clientWidth - right + "px", top });
  }

  swap() {
    this.swapped = !this.swapped;
    this.handle.setAttribute("aria-label", this.swapped ? "Compare: left the photo, right the result" : "Compare: left the result, right the photo");
    this.compare(1 - this.at);
  }

  // The whole result, or the whole photo, whichever side they are on.
  only(result) {
    this.compare(result === this.swapped ? 0 : 1);
  }

  // From a place in the window to a place in the picture, both axes in 0..1.
  place(event) {
    const box = this.view.getBoundingClientRect();
    return [(event.clientX - box.left - this.x) / (this.width * this.scale), (event.clientY - box.top - this.y) / (this.height * this.scale)];
  }

  listen() {
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(this.view);
    this.view.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = this.view.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    this.view.addEventListener("pointerdown", (event) => this.down(event));
    this.view.addEventListener("pointermove", (event) => this.moved(event));
    for (const kind of ["pointerup", "pointercancel"]) this.view.addEventListener(kind, (event) => this.up(event));
    this.handle.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      event.preventDefault();
      this.handle.focus();
      this.handle.setPointerCapture(event.pointerId);
    });
    this.handle.addEventListener("pointermove", (event) => {
      event.stopPropagation();
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      const box = this.view.getBoundingClientRect();
      const left = Math.max(this.x, 0);
      const right = Math.min(this.x + this.width * this.scale, box.width);
      this.compare((event.clientX - box.left - left) / Math.max(right - left, 1));
    });
    this.handle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.01;
      const to = { ArrowLeft: this.at - step, ArrowDown: this.at - step, ArrowRight: this.at + step, ArrowUp: this.at + step, Home: 0, End: 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.compare(to);
    });
  }

  down(event) {
    if (event.button > 0) return;
    this.view.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size === 1 && this.painter) this.painter.begin(this.place(event));
    else if (this.painter) this.painter.abort(); // a second finger moves the picture: what the first began is taken back
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.pointers.size === 1 && this.painter) {
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.painter.move(this.place(part));
    } else if (this.pointers.size === 1) {
      this.move(event.clientX - before[0], event.clientY - before[1]);
    } else if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const box = this.view.getBoundingClientRect();
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      const now = [event.clientX, event.clientY];
      this.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top);
    }
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.painter && this.pointers.size === 0) this.painter.end();
  }
}
