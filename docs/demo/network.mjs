// The two graphs of `nanostyle export any`: a painting to its embedding, a photo and an embedding to the picture.
// Pictures are {data: Float32Array of RGB in 0..1, width, height}.
import * as ort from "./ort/ort.wasm.min.mjs";

// Several threads need a page that is isolated (headers COOP and COEP); without them it is one.
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;

const sessions = {};
const session = (name) => sessions[name] ??= ort.InferenceSession.create(new URL(name, import.meta.url).href);

export const load = () => Promise.all([session("any.onnx"), session("any.style.onnx")]);

const tensor = ({ data, width, height }) => new ort.Tensor("float32", data, [1, height, width, 3]);

export async function embed(painting) {
  const { embedding } = await (await session("any.style.onnx")).run({ painting: tensor(painting) });
  return embedding.data;
}

export async function paint(photo, embedding) {
  const style = new ort.Tensor("float32", embedding, [1, embedding.length]);
  const { picture } = await (await session("any.onnx")).run({ photo: tensor(photo), embedding: style });
  return { ...photo, data: picture.data };
}

// Faint grain, as every use of the network has it: smooth ground gets strokes. The same for one size.
const DEVIATION = 1.2 / 255;

export function withGrain({ data, width, height }) {
  const grained = new Float32Array(data);
  let seed = 1;
  const uniform = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) + 0.5) / 2 ** 32;
  for (let i = 0; i < grained.length; i += 3) {
    const grain = DEVIATION * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    for (let c = 0; c < 3; c++) grained[i + c] += grain;
  }
  return { data: grained, width, height };
}

// As `--strength`: between the photo's own style and the painting's, plus, in its part, what the network loses of the
// photo in its own style.
export async function stylize(photo, seen, style, own, strength) {
  if (strength === 1) return paint(seen, style);
  const between = own.map((value, i) => value + strength * (style[i] - value));
  const lost = (await paint(seen, own)).data;
  const picture = await paint(seen, between);
  const data = picture.data.map((value, i) => value + (1 - strength) * (photo.data[i] - lost[i]));
  return { ...picture, data };
}
