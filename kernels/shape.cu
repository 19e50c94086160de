// Other shapes of the same numbers: feature maps upsampled and padded, and the transpose of that; weights and channels
// as the products of matrices want them; bytes to numbers and back.

DEVICE size_t at(int n, int h, int w, int H, int W, int C) { return ((static_cast<size_t>(n) * H + h) * W + w) * C; }

// y (N, OH, OW, C): x upsampled by `up`, with `top` rows and `left` columns before it.
// Grid: words of a result, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) upsample_pad(
    const real* __restrict__ x, real* __restrict__ y, int H, int W, int C, int OH, int OW, int top, int left, int up,
    int mode) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= OH * OW * (C / VEC)) return;
  const int c = i % (C / VEC) * VEC, ow = i / (C / VEC) % OW, oh = i / (C / VEC) / OW;
  const int h = border(oh - top, H * up, mode), w = border(ow - left, W * up, mode);
  float v[VEC] = {};
  if (h >= 0 && w >= 0) load(v, x + at(blockIdx.y, h / up, w / up, H, W, C) + c);
  store(y + at(blockIdx.y, oh, ow, OH, OW, C) + c, v);
}

// The positions -before .. n + after - 1 of a padded axis that repeat pixel p, one after the other, p among them.
struct Repeats {
  int p, n, before, end, mode, position, mirrored;
  METHOD Repeats(int p, int n, int before, int after, int mode)
      : p(p), n(n), before(before), end(n + after), mode(mode), mirrored(0) {
    if (mode == PAD_ZERO) position = p;
    else if (mode == PAD_EDGE || n == 1) position = p == 0 ? -before : p;
    else position = p - (p + before) / (2 * (n - 1)) * (2 * (n - 1));
  }
  METHOD bool more() const { return position < end; }
  METHOD void next() {
    if (mode == PAD_ZERO) {
      position = end;
    } else if (mode == PAD_EDGE || n == 1) {
      position = position + 1 <= p || p == n - 1 ? position + 1 : end;
    } else {
      const int period = 2 * (n - 1);
      position += period;
      if (position < end || mirrored || p == 0 || p == n - 1) return;
      mirrored = 1;  // now those that lie as far on the other side of a border pixel
      position = p <= before ? -p - (before - p) / period * period : period - p;
    }
  }
};

// dx[h, w] = the sum over every place of g (N, OH, OW, C) that `upsample_pad` filled from it. Grid: words of dx,
// feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 4) upsample_pad_dx(
    const real* __restrict__ g, real* __restrict__ dx, int H, int W, int C, int OH, int OW, int top, int left, int up,
    int mode) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= H * W * (C / VEC)) return;
  const int c = i % (C / VEC) * VEC, w = i / (C / VEC) % W, h = i / (C / VEC) / W;
  float sum[VEC] = {};
  for (int a = 0; a < up; a++)
    for (int b = 0; b < up; b++)
      for (Repeats row(h * up + a, H * up, top, OH - top - H * up, mode); row.more(); row.next())
        for (Repeats column(w * up + b, W * up, left, OW - left - W * up, mode); column.more(); column.next()) {
          float v[VEC];
          load(v, g + at(blockIdx.y, row.position + top, column.position + left, OH, OW, C) + c);
#pragma unroll
          for (int k = 0; k < VEC; k++) sum[k] += v[k];
        }
  store(dx + at(blockIdx.y, h, w, H, W, C) + c, sum);
}

// y (., OH, W, depth), x (., H, W, C): y[oh, ., r·C + c] = x[oh + r - top, ., c] for r < K, beyond it zeros: so that a
// convolution down the columns, of few channels, is one of more channels at a single tap. Grid: words of a feature map
// of y, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 4) unfold(
    const real* __restrict__ x, real* __restrict__ y, int H, int W, int C, int OH, int K, int top, int mode,
    int depth) {
  const int i = blockIdx.x * THREADS + threadIdx.x, across = depth / VEC;
  if (i >= OH * W * across) return;
  const int first = i % across * VEC, w = i / across % W, oh = i / across / W;
  int r = first / C, c = first % C;
  float v[VEC];
#pragma unroll
  for (int k = 0; k < VEC; k++) {
    const int h = r < K ? border(oh + r - top, H, mode) : -1;
    v[k] = h < 0 ? 0.f : to_float(x[at(blockIdx.y, h, w, H, W, C) + c]);
    if (++c == C) c = 0, r++;
  }
  store(y + (static_cast<size_t>(blockIdx.y) * OH * W * across + i) * VEC, v);
}

// y (., OH, W, M), z (., H, W, depth): y[oh, ., m] = b[m] + sum over r < K of z[oh + r - top, ., r·M + m], then ReLU:
// so that a convolution down the columns, to few channels, is one to more channels at a single tap. Grid: numbers of a
// feature map of y, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS, 2) fold(
    const real* __restrict__ z, const float* __restrict__ b, real* __restrict__ y, int H, int W, int depth, int OH,
    int M, int K, int top, int mode, int relu) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= OH * W * M) return;
  const int m = i % M, w = i / M % W, oh = i / M / W;
  float sum = b ? b[m] : 0.f;
  for (int r = 0; r < K; r++) {
    const int h = border(oh + r - top, H, mode);
    if (h >= 0) sum += to_float(z[at(blockIdx.y, h, w, H, W, depth) + r * M + m]);
  }
  y[static_cast<size_t>(blockIdx.y) * OH * W * M + i] = to_real(relu ? max(sum, 0.f) : sum);
}

// Weights (K, L, C, M) for conv.cu. Forward: out (rows, K', L', depth), out[m, r, s, c] = v[r, s, c, m]. Adjoint: out
// (rows, K', L', depth), out[c, r, s, m] = v[K'-1-r, L'-1-s, c, m]. Zeros beyond; the rows `interleaved`. v are the
// weights, each added to the `spread` taps from its own on, down and across: K' = K + spread - 1. Grid: numbers of out.
extern "C" __global__ void __launch_bounds__(THREADS) pack_weights(
    const float* __restrict__ w, real* __restrict__ out, int K, int L, int C, int M, int depth, int for_dx,
    int spread, int tf32, int count) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const int KS = K + spread - 1, LS = L + spread - 1;
  const int inner = i % depth, tap = i / depth % (KS * LS), outer = interleaved(i / depth / (KS * LS));
  const int t = for_dx ? KS * LS - 1 - tap : tap, c = for_dx ? outer : inner, m = for_dx ? inner : outer;
  float sum = 0.f;
  if (c < C && m < M)
    for (int r = max(0, t / LS - spread + 1); r <= min(t / LS, K - 1); r++)
      for (int s = max(0, t % LS - spread + 1); s <= min(t % LS, L - 1); s++)
        sum += w[(static_cast<size_t>(r * L + s) * C + c) * M + m];
  out[i] = to_operand(sum, tf32);
}

// out = g where the ReLU's output y is above 0, else 0. Grid: words.
extern "C" __global__ void __launch_bounds__(THREADS) mask_gradient(
    const real* __restrict__ g, const real* __restrict__ y, real* __restrict__ out, int words) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= words) return;
  const size_t at = static_cast<size_t>(i) * VEC;
  float d[VEC], v[VEC];
  load(d, g + at);
  load(v, y + at);
#pragma unroll
  for (int k = 0; k < VEC; k++) d[k] = v[k] > 0.f ? d[k] : 0.f;
  store(out + at, d);
}
