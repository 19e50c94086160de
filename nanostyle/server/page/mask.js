// A mask for each chosen style, painted on the picture: white where the style is to be.

const LONG_SIDE = 1024;
const MOST_UNDO = 10;
const VEIL = [242, 180, 65];

export class Mask {
  constructor(width, height) {
    const scale = Math.min(1, LONG_SIDE / Math.max(width, height));
    this.canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.undone = [];
    this.changed = 0;
    this.fill(0);
    this.undone = [];
  }

  keep() {
    this.undone.push(this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.undone.length > MOST_UNDO) this.undone.shift();
  }

  undo() {
    const before = this.undone.pop();
    if (before) this.pen.putImageData(before, 0, 0);
    this.changed++;
    return Boolean(before);
  }

  fill(value) {
    this.keep();
    this.pen.fillStyle = `rgb(${value} ${value} ${value})`;
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.changed++;
  }

  invert() {
    this.keep();
    this.pen.globalCompositeOperation = "difference";
    this.pen.fillStyle = "#fff";
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.pen.globalCompositeOperation = "source-over";
    this.changed++;
  }

  // A stroke from one place to another, both axes in 0..1; `size` is the brush in pixels of the mask.
  stroke(from, to, size, edge, white) {
    const [w, h] = [this.canvas.width, this.canvas.height];
    const length = Math.hypot((to[0] - from[0]) * w, (to[1] - from[1]) * h);
    const steps = Math.max(1, Math.ceil(length / Math.max(size / 8, 1)));
    for (let i = 1; i <= steps; i++) this.dab(w * (from[0] + ((to[0] - from[0]) * i) / steps), h * (from[1] + ((to[1] - from[1]) * i) / steps), size / 2, edge, white);
    this.changed++;
  }

  dab(x, y, radius, edge, white) {
    const color = white ? "255 255 255" : "0 0 0";
    const soft = this.pen.createRadialGradient(x, y, radius * (1 - edge) * 0.999, x, y, radius);
    soft.addColorStop(0, `rgb(${color} / 1)`);
    soft.addColorStop(1, `rgb(${color} / 0)`);
    this.pen.fillStyle = soft;
    this.pen.beginPath();
    this.pen.arc(x, y, radius, 0, 7);
    this.pen.fill();
  }

  // Shown as a veil of one color over the picture.
  show(veil) {
    const { width, height } = this.canvas;
    veil.width = width;
    veil.height = height;
    const pixels = this.pen.getImageData(0, 0, width, height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      pixels.data[i + 3] = pixels.data[i];
      [pixels.data[i], pixels.data[i + 1], pixels.data[i + 2]] = VEIL;
    }
    veil.getContext("2d").putImageData(pixels, 0, 0);
  }

  blob() {
    return this.canvas.convertToBlob({ type: "image/png" });
  }
}

// Turns pointers into strokes: what the viewer calls while a mask is painted.
export class Painter {
  constructor(mask, brush, changed) {
    this.mask = mask;
    this.brush = brush; // () => ({ size, edge, white }), the size in pixels of the mask
    this.changed = changed;
    this.last = null;
  }

  begin(place) {
    this.mask.keep();
    this.last = place;
    this.move(place);
  }

  move(place) {
    if (!this.last) return;
    const { size, edge, white } = this.brush();
    this.mask.stroke(this.last, place, size, edge, white);
    this.last = place;
    this.changed(false);
  }

  abort() {
    if (!this.last) return;
    this.last = null;
    this.mask.undo();
    this.changed(false);
  }

  end() {
    if (!this.last) return;
    this.last = null;
    this.changed(true);
  }
}
