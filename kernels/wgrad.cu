// Products over pixels: the gradient of a convolution's weights, and Gram matrices.
//
// A row of A is a number of the kernel (tap and channel), gathered as in conv.cu; a column of B is a channel of g; k
// are the output pixels. There are many pixels and few results, so the pixels are split over blocks: each writes a
// partial result, and gram.cu adds them up in an order that is always the same.
//
// Macros: HALF, TF32, BM, BN, A_PITCH, B_PITCH (gemm.cuh); STAGES: slices of k in shared memory; FLAT: a number of the
// kernel is a channel of the pixel itself, as in Gram matrices and 1x1 convolutions.

#if !defined(STAGES) || !defined(A_PITCH) || !defined(B_PITCH) || !defined(FLAT)
#error "a macro is missing: nanostyle/backend/gpu/tiling.py says which"
#endif

constexpr int AT_ONCE = BN < 128 || ((HALF || TF32) && !OLD) ? 2 : 1;  // blocks on a multiprocessor, unspilled
constexpr int A_BYTES = BK * A_PITCH, B_BYTES = BK * B_PITCH;
constexpr int A_ROWS = THREADS / A_WORDS, B_ROWS = THREADS / B_WORDS;  // pixels that the block copies at once
constexpr int A_STEPS = BK / A_ROWS;

// partial (N·splits, KLC, M) over `split` output pixels each. x (N, H, W, C), g (N, OH, OW, M), KLC = K·L·C.
// `mode` reflect wants a border narrower than the feature map. `symmetric`: x is g; tiles all of whose numbers are
// below the diagonal are left out, and those on it copied once.
// Grid: tiles of BM numbers of the kernel, of BN channels, feature maps and splits.
extern "C" __global__ void __launch_bounds__(THREADS, AT_ONCE) wgrad(
    const real* __restrict__ x, const real* __restrict__ g, float* __restrict__ partial, int H, int W, int C, int OH,
    int OW, int M, int L, int KLC, int stride, int pad_h, int pad_w, int mode, int shift, int split, int splits,
    int symmetric) {
  DYNAMIC_SHARED(shared);
  char *const A = shared, *const B = A + STAGES * A_BYTES;
  const int k0 = blockIdx.x * BM, m0 = blockIdx.y * BN, n = blockIdx.z / splits, P = OH * OW;
  if (symmetric && k0 >= m0 + BN) return;
  const bool same = BM == BN && symmetric && k0 == m0;
  const int begin = blockIdx.z % splits * split, count = min(split, P - begin), slices = ceil_div(count, BK);

  // Where the rows and columns of x that are met begin, -1 for zeros: after the tiles in shared memory.
  int* const column_at = reinterpret_cast<int*>(B + STAGES * B_BYTES);
  int* const row_at = column_at + (OW - 1) * stride + L;
  const int top = begin / OW;
  if (!FLAT) {
#pragma unroll 1
    for (int i = threadIdx.x; i < (OW - 1) * stride + L; i += THREADS) {
      const int w = near_border(i - pad_w, W << shift, mode);
      column_at[i] = w < 0 ? -1 : (w >> shift) * C;
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < ((begin + split - 1) / OW - top) * stride + KLC / C / L; i += THREADS) {
      const int h = near_border(top * stride + i - pad_h, H << shift, mode);
      row_at[i] = h < 0 ? -1 : (h >> shift) * W * C;
    }
    __syncthreads();
  }

  // A thread copies the same numbers of the kernel for every pixel: `right` and `down` say where these find it.
  const int word = threadIdx.x % A_WORDS, row0 = threadIdx.x / A_WORDS, k = k0 + word * PER_WORD;
  const int tap = k < KLC ? k / C : 0, s = tap % L, most_right = OW * stride + s;
  int right[A_STEPS], down[A_STEPS];
#pragma unroll
  for (int i = 0; i < A_STEPS; i++) {
    const int p = begin + row0 + i * A_ROWS;
    right[i] = p % OW * stride + s;
    down[i] = (p / OW - top) * stride + tap / L;
  }
  const int right_step = BK % OW * stride, down_step = BK / OW * stride;
  const real* const image = x + static_cast<size_t>(n) * H * W * C + (FLAT ? k : k % C);
  const real* const gradient = g + static_cast<size_t>(n) * P * M;
  const int b_row = threadIdx.x / B_WORDS, m = m0 + threadIdx.x % B_WORDS * PER_WORD;
  int done = 0;  // pixels that have been copied

  const auto copy = [&](int stage) {
#pragma unroll
    for (int i = 0; i < A_STEPS; i++) {
      const int row = row0 + i * A_ROWS;
      bool inside = k < KLC && done + row < count;
      int from = (begin + done + row) * C;
      if (!FLAT) {
        const int h = row_at[down[i]], w = column_at[right[i]];
        inside = inside && (h | w) >= 0;
        from = h + w;
        right[i] += right_step;
        down[i] += down_step;
        if (right[i] >= most_right) right[i] -= OW * stride, down[i] += stride;
      }
      cp_async(A + stage * A_BYTES + row * A_PITCH + word * WORD, image + from, inside);
    }
    if (!same) {
#pragma unroll
      for (int i = 0; i < ceil_div(BK, B_ROWS); i++) {
        const int row = b_row + i * B_ROWS;
        cp_async(B + stage * B_BYTES + row * B_PITCH + threadIdx.x % B_WORDS * WORD,
                 gradient + (begin + done + row) * M + m, done + row < count && m < M, row < BK);
      }
    }
    done += BK;
  };

  Sums sums = {};
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < slices) copy(stage);
    cp_async_commit();
  }
  int stage = 0;
  for (int slice = 0; slice < slices; slice++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    if (slice + STAGES - 1 < slices) copy(stage == 0 ? STAGES - 1 : stage - 1);
    cp_async_commit();
    const char* const a = A + stage * A_BYTES;
    multiply_columns(sums, a, same ? a : B + stage * B_BYTES);
    stage = stage == STAGES - 1 ? 0 : stage + 1;
  }

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = k0 + warp / WARPS_N * WM + lane / 4, column = m0 + warp % WARPS_N * WN + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < NI; i++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int j = 0; j < NJ; j++) {
        const int kk = row + i * 16 + h * 8, mm = column + j * 8;
        float* to = partial + (static_cast<size_t>(blockIdx.z) * KLC + kk) * M + mm;
        if (kk < KLC && mm < M)
          *reinterpret_cast<float2*>(to) = make_float2(sums[i][j][2 * h], sums[i][j][2 * h + 1]);
      }
}
