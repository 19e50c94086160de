// Products over pixels: the gradient of a convolution's weights, and Gram matrices.
//
// A row of A is a number of the kernel (tap and channel), gathered as in conv.cu; a column of B is a channel of g; k
// are the output pixels. There are many pixels and few results, so the pixels are split over blocks: each writes a
// partial result, and gram.cu adds them up in an order that is always the same.
//
// Macros: HALF, TF32, BM, BN (gemm.cuh).

constexpr int STAGES = BM + BN > 128 ? 3 : 6;
constexpr int AT_ONCE = BN < 128 || ((HALF || TF32) && !OLD) ? 2 : 1;  // blocks on a multiprocessor, unspilled
constexpr int A_ROWS = THREADS / A_CHUNKS;  // pixels that the block copies of A at once
constexpr int A_PARTS = BK / A_ROWS;

// partial (N·splits, KLC, M) over `split` output pixels each. x (N, H, W, C), g (N, OH, OW, M), KLC = K·L·C.
// `mode` reflect wants a border narrower than the picture. `symmetric`: x is g; tiles all of whose numbers are below the
// diagonal are left out, and those on it copied once.
// Grid: tiles of BM numbers of the kernel, of BN channels, pictures and splits.
extern "C" __global__ void __launch_bounds__(THREADS, AT_ONCE) wgrad(
    const real* __restrict__ x, const real* __restrict__ g, float* __restrict__ partial, int H, int W, int C, int OH,
    int OW, int M, int L, int KLC, int stride, int pad_h, int pad_w, int mode, int shift, int split, int splits,
    int symmetric) {
  DYNAMIC_SHARED(shared);
  char *const A = shared, *const B = shared + STAGES * BM * 64;
  const int k0 = blockIdx.x * BM, m0 = blockIdx.y * BN, n = blockIdx.z / splits, P = OH * OW;
  if (symmetric && k0 >= m0 + BN) return;
  const bool same = BM == BN && symmetric && k0 == m0;
  const int begin = blockIdx.z % splits * split, end = min(begin + split, P);
  const int pieces = ceil_div(end - begin, BK);

  // A thread copies the same numbers of the kernel for every pixel.
  const int chunk = threadIdx.x % A_CHUNKS, row0 = threadIdx.x / A_CHUNKS, k = k0 + chunk * CHUNK;
  const int c = k % C, r = k / C / L, s = k / C % L;
  int oh[A_PARTS], ow[A_PARTS];
#pragma unroll
  for (int i = 0; i < A_PARTS; i++) {
    const int p = begin + row0 + i * A_ROWS;
    oh[i] = p / OW;
    ow[i] = p % OW;
  }
  const real* const picture = x + static_cast<size_t>(n) * H * W * C;
  const real* const gradient = g + static_cast<size_t>(n) * P * M;

  const auto copy = [&](int piece, int stage) {
    const int p0 = begin + piece * BK;
#pragma unroll
    for (int i = 0; i < A_PARTS; i++) {
      const int row = row0 + i * A_ROWS;
      const int h = near_border(oh[i] * stride + r - pad_h, H << shift, mode);
      const int w = near_border(ow[i] * stride + s - pad_w, W << shift, mode);
      const bool inside = k < KLC && p0 + row < end && h >= 0 && w >= 0;
      const real* from = picture + ((h >> shift) * W + (w >> shift)) * C + c;
      cp_async(A + stage * BM * 64 + column_place<A_CHUNKS>(row, chunk), from, inside);
      for (ow[i] += BK; ow[i] >= OW; ow[i] -= OW) oh[i]++;
    }
    if (same) return;
#pragma unroll
    for (int i = 0; i < ceil_div(BK * B_CHUNKS, THREADS); i++) {
      const int id = threadIdx.x + i * THREADS, row = id / B_CHUNKS, m = m0 + id % B_CHUNKS * CHUNK;
      if (id >= BK * B_CHUNKS) break;
      const bool inside = p0 + row < end && m < M;
      const real* from = gradient + (p0 + row) * M + m;
      cp_async(B + stage * BN * 64 + column_place<B_CHUNKS>(row, id % B_CHUNKS), from, inside);
    }
  };

  Sums sums = {};
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < pieces) copy(stage, stage);
    cp_async_commit();
  }
  for (int piece = 0; piece < pieces; piece++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    if (piece + STAGES - 1 < pieces) copy(piece + STAGES - 1, (piece + STAGES - 1) % STAGES);
    cp_async_commit();
    const char* const a = A + piece % STAGES * BM * 64;
    multiply_columns(sums, a, same ? a : B + piece % STAGES * BN * 64);
  }

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = k0 + warp / WARPS_N * WM + lane / 4, column = m0 + warp % WARPS_N * WN + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < NI; i++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int j = 0; j < NJ; j++) {
        const int kk = row + i * 16 + h * 8, m = column + j * 8;
        float* to = partial + (static_cast<size_t>(blockIdx.z) * KLC + kk) * M + m;
        if (kk < KLC && m < M)
          *reinterpret_cast<float2*>(to) = make_float2(sums[i][j][2 * h], sums[i][j][2 * h + 1]);
      }
}
