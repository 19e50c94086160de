// Convolution as a product of matrices that are never laid out: a row of A is an output pixel, a row of B an output
// channel of the weights, and k are the taps and channels.
//
// A block makes a tile of TH x TW output pixels. It takes k in slices: K_BYTES of channels, one row of the kernel, up
// to TAPS of its taps (three or two; nine in few-channel convolutions, which have one row). The pixels under the tile
// are copied to shared memory, to a window, and every tap reads them there, shifted: so with a stride of 1 a 3x3 kernel
// copies each pixel once and not nine times, since from one row of the kernel to the next only one more row of pixels
// is needed. What is copied is what such a product waits for.
//
// One kernel serves forward and gradient. Tap (r, s) of output pixel (oh, ow) is pixel (oh·stride + r - pad_h, ...) of
// a feature map that is the given one with its pixels 2^shift apart:
// - forward, the gaps are filled with the pixel before them (nearest upsampling) and the border by `mode`;
// - in a fractionally strided convolution (the gradient of a strided one; upsampling, where taps that meet the same
//   pixel have been added up), the gaps are zeros and `mode` is for the pixels that are given: output pixels whose taps
//   fall on pixels alike are one of step² phases, with step = 2^shift, and skip the taps that meet zeros.
//
// Macros: HALF, TF32, BM, BN (gemm.cuh), STRIDE, TAPS, STAGES: slices in shared memory.

constexpr int TW = TILE_WIDTH, TH = BM / TW;
static_assert(NJ % 4 == 0, "eight channels of a lane leave at once");

// Pixels in a row of a window: those of the same remainder by STRIDE lie together, as the taps read them.
constexpr int TOGETHER = TW + (TAPS - 1) / STRIDE, WINDOW = STRIDE * TOGETHER;
constexpr bool ONE_ROW = TAPS > 3;    // one row of the kernel, and no phases
constexpr bool KEPT = STRIDE == 1;  // a window serves all rows of the kernel, else one
constexpr int B_BYTES = TAPS * BN * K_BYTES;
constexpr int AT_A_TIME = THREADS / 4;  // pixels, or rows of weights, that the block copies at once
constexpr int LINES = AT_A_TIME / WINDOW;  // whole rows of a window among them
static_assert(LINES >= 1, "a row of a window is copied at once");

// Blocks on a multiprocessor: with two, these would spill registers. Of 128 x 128 two have room in the shared memory of
// Hopper alone, and there it is a near thing: so numbers are kept as offsets and not as pointers, and what the end
// needs is computed at the beginning.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
constexpr bool LARGE = BN > 64 && (BM > 128 || STRIDE > 1);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr bool LARGE = BN > 64 || BM > 256;
#else
constexpr bool LARGE = BN > 64;
#endif
constexpr int AT_ONCE = OLD || LARGE || (!(HALF || TF32) && BN > 32) ? 1 : 2;

// Whether registers are left for the next tap's operands: without a branch between the taps they are read meanwhile.
constexpr bool ROOM = NI * NJ <= 8;

DEVICE int modulo(int a, int b) { return (a % b + b) % b; }

// y (N, OH, OW, M) = conv(x, w) + bias, then ReLU. x (N, H, W, C), w (M', K, L, C) with M' the next multiple of 32, its
// rows `interleaved`; w of feature map n is w_stride·n numbers further. With `partial` (N, phases, tiles, M), where all
// phases have one size: mean and sum of squared deviations of each channel over each tile.
// `mode` reflect wants a border narrower than the feature map. `windows`, each of TH rows, with KEPT as many more as
// the kernel has after its first, are enough for the slices that are under way.
// Grid: tiles, groups of BN channels, feature maps and phases.
extern "C" __global__ void __launch_bounds__(THREADS, AT_ONCE) conv(
    const real* __restrict__ x, const real* __restrict__ w, const float* __restrict__ bias, real* __restrict__ y,
    float2* __restrict__ partial, int H, int W, int C, int OH, int OW, int M, int K, int L, int pad_h, int pad_w,
    int mode, int shift, int phase_step, int relu, int w_stride, int windows) {
  DYNAMIC_SHARED(shared);
  const int step = ONE_ROW ? 1 : phase_step;
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
  const int rows = ONE_ROW ? 1 : ceil_div(K - first_r, step), columns = ceil_div(L - first_s, step);
  const int h0 = (phase_h + first_r - pad_h) / step + top * STRIDE;
  const int w0 = (phase_w + first_s - pad_w) / step + left * STRIDE;
  const int up = step > 1 ? 0 : shift;
  const int slices = rows > 0 && columns > 0 ? ceil_div(columns, TAPS) * rows * ceil_div(C, BK) : 0;

  // In shared memory: windows, stages of weights, and where each row of pixels that is met begins, -1 for zeros.
  const int window_bytes = (TH + (KEPT ? ceil_div(K, step) - 1 : 0)) * WINDOW * K_PITCH;
  char* const B = shared + windows * window_bytes;
  int* const row_at = reinterpret_cast<int*>(B + min(STAGES, slices) * B_BYTES);
#pragma unroll 1
  for (int i = threadIdx.x; i < (TH - 1) * STRIDE + rows; i += THREADS) {
    const int h = near_border(h0 + i, H << up, mode);
    row_at[i] = h < 0 ? -1 : (h >> up) * W * C;
  }

  // What this thread copies of a slice: one word of a pixel in some rows, and of rows of weights AT_A_TIME apart.
  const int word = threadIdx.x % 4, own = threadIdx.x / 4;
  const int line = own / WINDOW, column = w0 + own % TOGETHER * STRIDE + own % WINDOW / TOGETHER;
  const bool copies = own < LINES * WINDOW;
  const int image = n * H * W * C;
  const int own_t = own / BN, own_m = m0 + own % BN;  // its first row of weights: tap and channel
  const int weights = n * w_stride + ((own_m * K + first_r) * L + first_s + own_t * step) * C + word * PER_WORD;
  const auto column_at = [&](int s) {  // where the pixel begins in its row
    const int v = near_border(column + s, W << up, mode);
    return v < 0 ? -1 : (v >> up) * C + word * PER_WORD;
  };
  int r = 0, s = 0, c = 0, window = 0, from = column_at(0);  // of the next slice
  __syncthreads();

  const auto copy_pixel = [&](char* to, int row, bool wanted) {
    cp_async(to, x + (image + row + from + c), (row | from) >= 0 && c + word * PER_WORD < C, wanted);
  };

  // Copy the next slice, its weights to a stage.
  const auto copy = [&](int stage) {
    char* const to = shared + window * window_bytes + own * K_PITCH + word * WORD;
    if (!KEPT || r == 0) {
#pragma unroll(TH / LINES > 6 ? 1 : TH)  // of many, the addresses of all at once would spill
      for (int i = 0; i < ceil_div(TH, LINES); i++)
        copy_pixel(to + i * LINES * WINDOW * K_PITCH, row_at[min(line + i * LINES, TH - 1) * STRIDE + r],
                   copies && line + i * LINES < TH);
    } else {
      copy_pixel(to + (TH - 1 + r) * WINDOW * K_PITCH, row_at[TH - 1 + r], own < WINDOW);
    }
#pragma unroll
    for (int i = 0; i < ceil_div(TAPS * BN, AT_A_TIME); i++) {
      const int t = i * AT_A_TIME / BN, m = i * AT_A_TIME % BN;
      cp_async(B + stage * B_BYTES + place(own, word) + i * AT_A_TIME * K_BYTES,
               w + (weights + ((m * K + r * step) * L + (s + t) * step) * C + c),
               c + word * PER_WORD < C && s + t + own_t < columns && own_m + m < ceil_div(M, PACKED_ROWS) * PACKED_ROWS,
               own < TAPS * BN - i * AT_A_TIME);
    }
    if (!KEPT || r == rows - 1) window = window == windows - 1 ? 0 : window + 1;
    if (++r < rows) return;
    r = 0;
    c += BK;
    if (c < C) return;
    c = 0;
    s += TAPS;
    from = column_at(s);
  };

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row0 = warp / WARPS_N * NI, column0 = warp % WARPS_N * WN;  // of the tile
  Sums sums = {};
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < slices) copy(stage);
    cp_async_commit();
  }
  int stage = 0, window_now = 0, r_now = 0, s_now = 0, c_now = 0;  // of the slice that is multiplied
  for (int slice = 0; slice < slices; slice++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    if (slice + STAGES - 1 < slices) copy(stage == 0 ? STAGES - 1 : stage - 1);
    cp_async_commit();
    const char* const A = shared + window_now * window_bytes + ((KEPT ? r_now : 0) + row0) * WINDOW * K_PITCH;
    const auto multiply_tap = [&](int t) {
      multiply_rows<WINDOW * K_PITCH>(
          sums, A + (t / STRIDE + t % STRIDE * TOGETHER) * K_PITCH, B + stage * B_BYTES + (t * BN + column0) * K_BYTES);
    };
    if (ROOM && s_now + TAPS <= columns) {
#pragma unroll
      for (int t = 0; t < TAPS; t++) multiply_tap(t);
    } else if (ROOM || ONE_ROW) {
#pragma unroll 1
      for (int t = 0; t < min(TAPS, columns - s_now); t++) multiply_tap(t);
    } else {
#pragma unroll
      for (int t = 0; t < TAPS; t++) {
        if (s_now + t >= columns) break;
        multiply_tap(t);
      }
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
  __syncthreads();  // the last slice has been read
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
