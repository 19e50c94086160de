// Convolution as a product of matrices that are never laid out: a row of A is an output pixel, gathered from the
// picture tap by tap while it is copied to shared memory; a row of B is an output channel of the weights.
//
// One kernel serves forward and gradient. Tap (r, s) of output pixel (oh, ow) is pixel (oh·stride + r - pad_h, ...) of
// a picture that is the given one with its pixels 2^shift apart:
// - forward, the gaps are filled with the pixel before them (nearest upsampling) and the border by `mode`;
// - for the gradient of a strided convolution (fractionally strided), the gaps are zeros: output pixels whose taps
//   fall on pixels alike are one of step² phases, with step = 2^shift, and skip the taps that meet zeros.
//
// Macros: HALF, TF32, BM, BN (gemm.cuh), GRAIN: bytes that are copied at once, 16, or 8 where there are 4 channels.

constexpr int GRAIN_NUMBERS = GRAIN / sizeof(real), GRAINS = 16 / GRAIN;
constexpr int ROWS_AT_ONCE = THREADS / 4;  // a thread copies the same chunk of each 64th row

// Blocks on a multiprocessor: with two of them float32 in tiles of 64 channels would spill registers.
constexpr int AT_ONCE = BN < (HALF || TF32 ? 128 : 64) ? 2 : 1;

DEVICE int modulo(int a, int b) { return (a % b + b) % b; }

// Where in k a thread copies: tap and channel. It moves on by BK numbers at a time.
struct Tap {
  int r, s, c;
  METHOD void start(int k, int C, int L, int first_r, int first_s, int step) {
    const int per_row = ceil_div(L - first_s, step), tap = k / C;
    c = k % C;
    r = first_r + tap / per_row * step;
    s = first_s + tap % per_row * step;
  }
  METHOD void advance(int C, int L, int first_s, int step) {
    for (c += BK; c >= C; c -= C) {
      s += step;
      if (s >= L) {
        s = first_s;
        r += step;
      }
    }
  }
};

// y (N, OH, OW, M) = conv(x, w) + bias, then ReLU. x (N, H, W, C), w (M, K, L, C); w of picture n is w_stride·n
// numbers further. With `partial` (N, tiles, M): mean and sum of squared deviations of each channel over each tile.
// Grid: tiles of BM output pixels, of BN channels, pictures and phases.
extern "C" __global__ void __launch_bounds__(THREADS, AT_ONCE) conv(
    const real* __restrict__ x, const real* __restrict__ w, const float* __restrict__ bias, real* __restrict__ y,
    float2* __restrict__ partial, int H, int W, int C, int OH, int OW, int M, int K, int L, int stride, int pad_h,
    int pad_w, int mode, int shift, int step, int relu, int w_stride) {
  DYNAMIC_SHARED(shared);
  char *const A = shared, *const B = shared + STAGES * BM * 64;
  const int phases = step * step, n = blockIdx.z / phases, phase = blockIdx.z % phases;
  const int phase_h = phase / step, phase_w = phase % step;
  const int PW = ceil_div(OW - phase_w, step), P = ceil_div(OH - phase_h, step) * PW;
  const int p0 = blockIdx.x * BM, m0 = blockIdx.y * BN;
  if (p0 >= P) return;
  const int first_r = modulo(pad_h - phase_h, step), first_s = modulo(pad_w - phase_w, step);
  const int taps = first_r < K && first_s < L ? ceil_div(K - first_r, step) * ceil_div(L - first_s, step) : 0;
  const int pieces = ceil_div(taps * C, BK);

  const int chunk = threadIdx.x % 4, row0 = threadIdx.x / 4;
  Tap tap[GRAINS];
  int h0[BM / ROWS_AT_ONCE], w0[BM / ROWS_AT_ONCE];
  if (taps)
#pragma unroll
    for (int q = 0; q < GRAINS; q++) tap[q].start(chunk * CHUNK + q * GRAIN_NUMBERS, C, L, first_r, first_s, step);
#pragma unroll
  for (int i = 0; i < BM / ROWS_AT_ONCE; i++) {
    const int p = p0 + row0 + i * ROWS_AT_ONCE;
    h0[i] = (p / PW * step + phase_h) * stride - pad_h;
    w0[i] = (p % PW * step + phase_w) * stride - pad_w;
  }
  const real* const picture = x + static_cast<size_t>(n) * H * W * C;
  const real* const weights = w + static_cast<size_t>(n) * w_stride;

  // Copy the next BK numbers of k into a stage.
  const auto copy = [&](int stage) {
#pragma unroll
    for (int q = 0; q < GRAINS; q++) {
      const Tap t = tap[q];
#pragma unroll
      for (int i = 0; i < BM / ROWS_AT_ONCE; i++) {
        const int row = row0 + i * ROWS_AT_ONCE;
        const int h = border(h0[i] + t.r, H << shift, mode), v = border(w0[i] + t.s, W << shift, mode);
        const bool inside = t.r < K && p0 + row < P && h >= 0 && v >= 0;
        const real* from = picture + (static_cast<size_t>(h >> shift) * W + (v >> shift)) * C + t.c;
        cp_async<GRAIN>(A + stage * BM * 64 + place<4>(row, chunk) + q * GRAIN, inside ? from : x, inside);
      }
#pragma unroll
      for (int i = 0; i < ceil_div(BN, ROWS_AT_ONCE); i++) {
        const int row = row0 + i * ROWS_AT_ONCE;
        if (row >= BN) break;
        const bool inside = t.r < K && m0 + row < M;
        const real* from = weights + ((static_cast<size_t>(m0 + row) * K + t.r) * L + t.s) * C + t.c;
        cp_async<GRAIN>(B + stage * BN * 64 + place<4>(row, chunk) + q * GRAIN, inside ? from : w, inside);
      }
      tap[q].advance(C, L, first_s, step);
    }
  };

  Sums sums = {};
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < pieces) copy(stage);
    cp_async_commit();
  }
  for (int piece = 0; piece < pieces; piece++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    if (piece + STAGES - 1 < pieces) copy((piece + STAGES - 1) % STAGES);
    cp_async_commit();
    multiply_rows(sums, A + piece % STAGES * BM * 64, B + piece % STAGES * BN * 64);
  }

  // Bias, ReLU, and out.
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = p0 + warp / WARPS_N * WM + lane / 4, column = warp % WARPS_N * WN + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < NI; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int p = row + i * 16 + h * 8;
      const int oh = p / PW * step + phase_h, ow = p % PW * step + phase_w;
      real* const to = y + ((static_cast<size_t>(n) * OH + oh) * OW + ow) * M;
#pragma unroll
      for (int j = 0; j < NJ; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int m = m0 + column + j * 8 + e;
          float& v = sums[i][j][2 * h + e];
          if (bias && m < M) v += bias[m];
          if (relu) v = max(v, 0.f);
          if (p < P && m < M) to[m] = to_real(v);
        }
    }
  if (!partial) return;

  // Statistics of the tile: the sum of each column first, then the squares around its mean.
  float(*const found)[WARPS_M][BN] = reinterpret_cast<float(*)[WARPS_M][BN]>(shared);
  const int count = min(BM, P - p0);
  __syncthreads();  // the last piece has been read
#pragma unroll
  for (int pass = 0; pass < 2; pass++) {
#pragma unroll
    for (int j = 0; j < NJ; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int k = column + j * 8 + e;
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
            if (row + i * 16 + h * 8 < P) sum += pass == 1 ? d * d : d;
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
    partial[(static_cast<size_t>(n) * gridDim.x + blockIdx.x) * M + m0 + k] = make_float2(mean / count, m2);
  }
}
