// Convolution as a product of matrices that are never laid out: a row of A is an output pixel, a row of B an output
// channel of the weights, and k are the taps and channels.
//
// A block makes a tile of TH x 16 output pixels. It takes k in pieces: 64 bytes of channels, one row of the kernel, up
// to TAPS of its taps (three; nine in thin layers, which have one row). The pixels under the tile are copied to shared
// memory, to a window, and every tap reads them there, shifted: so with a stride of 1 a 3x3 kernel copies each pixel
// once and not nine times, since from one row of the kernel to the next only one more row of pixels is needed. What is
// copied is what such a product waits for.
//
// One kernel serves forward and gradient. Tap (r, s) of output pixel (oh, ow) is pixel (oh·stride + r - pad_h, ...) of
// a picture that is the given one with its pixels 2^shift apart:
// - forward, the gaps are filled with the pixel before them (nearest upsampling) and the border by `mode`;
// - in a fractionally strided convolution (the gradient of a strided one; upsampling, where taps that meet the same
//   pixel have been added up), the gaps are zeros and `mode` is for the pixels that are given: output pixels whose taps
//   fall on pixels alike are one of step² phases, with step = 2^shift, and skip the taps that meet zeros.
//
// Macros: HALF, TF32, BM, BN (gemm.cuh), STRIDE, TAPS, STAGES: pieces in shared memory.

constexpr int TW = 16, TH = BM / TW;
static_assert(NJ % 4 == 0, "eight channels of a lane leave at once");

// Pixels in a row of a window: those of the same remainder by STRIDE lie together, as the taps read them. A row is a
// multiple of eight, so that each begins at the same bank.
constexpr int UNIT = STRIDE % 2 ? 8 : STRIDE % 4 ? 4 : 2;
constexpr int TOGETHER = ceil_div(TW + (TAPS - 1) / STRIDE, UNIT) * UNIT, WINDOW = STRIDE * TOGETHER;
constexpr bool KEPT = STRIDE == 1;  // a window serves all rows of the kernel, else one
constexpr int B_BYTES = TAPS * BN * 64;
constexpr int STRIP = THREADS / 4;  // pixels, or rows of weights, that the block copies at once

// Blocks on a multiprocessor: with two, these would spill registers; on Blackwell all that have 128 channels. It is a
// near thing: so numbers are kept as offsets and not as pointers, and what the end needs is computed at the beginning.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr bool LARGE = BN > 64;
#else
constexpr bool LARGE = BN > 64 && (BM > 128 || STRIDE > 1);
#endif
constexpr int AT_ONCE = OLD || LARGE || (!(HALF || TF32) && BN > 32) ? 1 : 2;

DEVICE int modulo(int a, int b) { return (a % b + b) % b; }

// y (N, OH, OW, M) = conv(x, w) + bias, then ReLU. x (N, H, W, C), w (M', K, L, C) with M' the next multiple of 32, its
// rows `interleaved`; w of picture n is w_stride·n numbers further. With `partial` (N, phases, tiles, M), where all
// phases have one size: mean and sum of squared deviations of each channel over each tile.
// `mode` reflect wants a border narrower than the picture. `windows`, each of TH rows, with KEPT as many more as the
// kernel has after its first, are enough for the pieces that are under way.
// Grid: tiles, groups of BN channels, pictures and phases.
extern "C" __global__ void __launch_bounds__(THREADS, AT_ONCE) conv(
    const real* __restrict__ x, const real* __restrict__ w, const float* __restrict__ bias, real* __restrict__ y,
    float2* __restrict__ partial, int H, int W, int C, int OH, int OW, int M, int K, int L, int pad_h, int pad_w,
    int mode, int shift, int step, int relu, int w_stride, int windows) {
  DYNAMIC_SHARED(shared);
  const int phases = step * step, n = blockIdx.z / phases, phase = blockIdx.z % phases;
  const int phase_h = phase / step, phase_w = phase % step;
  const int PH = ceil_div(OH - phase_h, step), PW = ceil_div(OW - phase_w, step);  // of this phase
  const int across = ceil_div(ceil_div(OW, step), TW), m0 = blockIdx.y * BN;
  const int top = blockIdx.x / across * TH, left = blockIdx.x % across * TW;
  const int tall = PH - top, wide = PW - left;  // of the tile, as far as there are pixels
  if (tall <= 0 || wide <= 0) return;
  const int corner = ((n * OH + top * step + phase_h) * OW + left * step + phase_w) * M + m0;  // of y

  // The taps of this phase, and the pixel that the first of them meets at the tile's first output pixel.
  const int first_r = modulo(pad_h - phase_h, step), first_s = modulo(pad_w - phase_w, step);
  const int rows = ceil_div(K - first_r, step), columns = ceil_div(L - first_s, step);
  const int h0 = (phase_h + first_r - pad_h) / step + top * STRIDE;
  const int w0 = (phase_w + first_s - pad_w) / step + left * STRIDE;
  const int up = step > 1 ? 0 : shift;
  const int pieces = rows > 0 && columns > 0 ? ceil_div(columns, TAPS) * rows * ceil_div(C, BK) : 0;

  const int window_bytes = (TH + (KEPT ? ceil_div(K, step) - 1 : 0)) * WINDOW * 64;
  char* const B = shared + windows * window_bytes;

  // What this thread copies of a piece: one chunk of each pixel, and of each row of weights, STRIP apart.
  const int chunk = threadIdx.x % 4, own = threadIdx.x / 4;
  constexpr int PIXELS = ceil_div(TH * WINDOW, STRIP), WEIGHTS = ceil_div(TAPS * BN, STRIP);
  const int picture = n * H * W * C + chunk * CHUNK;
  const int weights = n * w_stride + (((m0 + own) * K + first_r) * L + first_s) * C + chunk * CHUNK;
  const int here = place<4>(own, chunk);
  int r = 0, s = 0, c = 0, window = 0;  // of the next piece

  // Copy the pixel at a place in a row of the window, which is that of a row so many below the tile's first.
  const auto copy_pixel = [&](char* to, int below, int at) {
    const int column = at % TOGETHER * STRIDE + at / TOGETHER;
    const int h = near_border(h0 + below, H << up, mode), v = near_border(w0 + column + s, W << up, mode);
    const bool inside = c + chunk * CHUNK < C && column < (TW - 1) * STRIDE + TAPS && h >= 0 && v >= 0;
    cp_async<16>(to, x + picture + ((h >> up) * W + (v >> up)) * C + c, inside);
  };

  // Copy the next piece, its weights to a stage.
  const auto copy = [&](int stage) {
    char* const to = shared + window * window_bytes + here;
    if (!KEPT || r == 0) {
#pragma unroll(PIXELS > 6 ? 2 : PIXELS)  // of many, the addresses of all at once would spill
      for (int i = 0; i < PIXELS; i++) {
        const int pixel = own + i * STRIP;
        if (i * STRIP + STRIP <= TH * WINDOW || pixel < TH * WINDOW)
          copy_pixel(to + i * STRIP * 64, pixel / WINDOW * STRIDE + r, pixel % WINDOW);
      }
    } else if (own < WINDOW) {
      copy_pixel(to + (TH - 1 + r) * WINDOW * 64, TH - 1 + r, own);
    }
    const int tap = weights + (r * L + s) * step * C + c;
#pragma unroll
    for (int i = 0; i < WEIGHTS; i++) {
      const int row = own + i * STRIP, t = row / BN, m = row % BN;
      if (i * STRIP + STRIP <= TAPS * BN || row < TAPS * BN)
        cp_async<16>(B + stage * B_BYTES + here + i * STRIP * 64, w + (tap + (m - own) * (K * L * C) + t * step * C),
                     c + chunk * CHUNK < C && s + t < columns && m0 + m < ceil_div(M, 32) * 32);
    }
    if (!KEPT || r == rows - 1) window = window == windows - 1 ? 0 : window + 1;
    if (++r < rows) return;
    r = 0;
    c += BK;
    if (c < C) return;
    c = 0;
    s += TAPS;
  };

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row0 = warp / WARPS_N * NI, column0 = warp % WARPS_N * WN;  // of the tile
  Sums sums = {};
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < pieces) copy(stage);
    cp_async_commit();
  }
  int stage = 0, window_now = 0, r_now = 0, s_now = 0, c_now = 0;  // of the piece that is multiplied
  for (int piece = 0; piece < pieces; piece++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    if (piece + STAGES - 1 < pieces) copy(stage == 0 ? STAGES - 1 : stage - 1);
    cp_async_commit();
    const char* const A = shared + window_now * window_bytes + (KEPT ? r_now : 0) * WINDOW * 64;
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
      if (s_now + t >= columns) break;
      multiply_rows<WINDOW * 64>(
          sums,
          [&](int p, int part) {
            const int at = p + t / STRIDE + t % STRIDE * TOGETHER;
            return A + (row0 * WINDOW + at) * 64 + (part ^ at / 2 % 4) * 16;
          },
          B + stage * B_BYTES + (t * BN + column0) * 64);
    }
    stage = stage == STAGES - 1 ? 0 : stage + 1;
    if (!KEPT || r_now == rows - 1) window_now = window_now == windows - 1 ? 0 : window_now + 1;
    if (++r_now < rows) continue;
    r_now = 0;
    c_now += BK;
    if (c_now < C) continue;
    c_now = 0;
    s_now += TAPS;
  }

  // Bias, ReLU, and out: eight channels of a lane for every four fragments.
  const int m1 = column0 + lane % 4 * 8, most = M - m0;
  bool real_pixel[NI][2];
#pragma unroll
  for (int i = 0; i < NI; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = row0 + i, column = lane / 4 + h * 8;
      real_pixel[i][h] = row < tall && column < wide;
      real* const to = y + (corner + (row * OW + column) * step * M);
#pragma unroll
      for (int j = 0; j < NJ; j += 4) {
        const int m = m1 + j * 8;
        float v[8];
#pragma unroll
        for (int e = 0; e < 8; e++) {
          float& sum = sums[i][j + e / 2][2 * h + e % 2];
          if (bias && m + e < most) sum += bias[m0 + m + e];
          if (relu) sum = max(sum, 0.f);
          v[e] = sum;
        }
        if (!real_pixel[i][h] || m >= most) continue;
        if (M % 8 == 0) {
          store_eight(to + m, v);
        } else {
#pragma unroll
          for (int e = 0; e < 8; e++)
            if (m + e < most) to[m + e] = to_real(v[e]);
        }
      }
    }
  if (!partial) return;

  // Statistics of the tile: the sum of each column first, then the squares around its mean.
  float(*const found)[WARPS_M][BN] = reinterpret_cast<float(*)[WARPS_M][BN]>(shared);
  const int count = min(TH, tall) * min(TW, wide);
  __syncthreads();  // the last piece has been read
#pragma unroll
  for (int pass = 0; pass < 2; pass++) {
#pragma unroll
    for (int j = 0; j < NJ; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int k = interleaved(column0 + lane % 4 * 2 + j * 8 + e);
        float mean = 0.f, sum = 0.f;
        if (pass == 1) {
#pragma unroll
          for (int i = 0; i < WARPS_M; i++) mean += found[0][i][k];
          mean /= count;
        }
#pragma unroll
        for (int i = 0; i < NI; i++)
#pragma unroll
          for (int h = 0; h < 2; h++) {
            const float d = sums[i][j][2 * h + e] - mean;
            if (real_pixel[i][h]) sum += pass == 1 ? d * d : d;
          }
#pragma unroll
        for (int by = 4; by < 32; by *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, by);
        if (lane < 4) found[pass][warp / WARPS_N][k] = sum;
      }
    __syncthreads();
  }
  for (int k = threadIdx.x; k < min(BN, M - m0); k += THREADS) {
    float mean = 0.f, m2 = 0.f;
#pragma unroll
    for (int i = 0; i < WARPS_M; i++) mean += found[0][i][k], m2 += found[1][i][k];
    partial[(static_cast<size_t>(blockIdx.z) * gridDim.x + blockIdx.x) * M + m0 + k] = make_float2(mean / count, m2);
  }
}
