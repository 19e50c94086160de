// Gram matrices and weight gradients: the sums over the partial results of wgrad.cu, and the weights that conv.cu takes
// for the gradient of a Gram matrix.

constexpr int SLICES = THREADS / SUMS;

// out (KL, C, M) = the sum of `splits` partial results (splits, KL, C_in, M_in) of wgrad.cu; channels above C and M are
// padding. SUMS numbers to a block, SLICES threads to a number. Grid: groups of SUMS numbers.
extern "C" __global__ void __launch_bounds__(THREADS) join_splits(
    const float* __restrict__ partial, float* __restrict__ out, int splits, int KL, int C, int C_in, int M, int M_in) {
  __shared__ float found[SLICES][SUMS];
  const int lane = threadIdx.x / SUMS, i = blockIdx.x * SUMS + threadIdx.x % SUMS, count = KL * C * M;
  const int m = i % M, c = i / M % C, kl = i / M / C;
  const size_t size = static_cast<size_t>(KL) * C_in * M_in;
  float sum = 0.f;
  if (i < count) {
#pragma unroll 4
    for (int z = lane; z < splits; z += SLICES) sum += partial[z * size + (kl * C_in + c) * M_in + m];
  }
  found[lane][threadIdx.x % SUMS] = sum;
  __syncthreads();
  if (lane > 0 || i >= count) return;
  for (int other = 1; other < SLICES; other++) sum += found[other][threadIdx.x];
  out[i] = sum;
}

constexpr int GRAM = GRAM_SIDE * GRAM_SIDE;
static_assert(THREADS == 4 * GRAM, "four threads to a number");

// out (N, C, C) = scale times the sum of each feature map's `splits` partial Gram matrices (N·splits, C_in, C_in): what
// is on the diagonal and above it, written there and mirrored. A block makes GRAM_SIDE x GRAM_SIDE numbers, by four
// threads each.
// Grid: tiles across, tiles down, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) join_gram(
    const float* __restrict__ partial, float* __restrict__ out, int splits, int C, int C_in, float scale) {
  __shared__ float found[4][GRAM];
  if (blockIdx.x < blockIdx.y) return;
  const int lane = threadIdx.x / GRAM, number = threadIdx.x % GRAM;
  const int row = blockIdx.y * GRAM_SIDE + number / GRAM_SIDE, column = blockIdx.x * GRAM_SIDE + number % GRAM_SIDE;
  const size_t size = static_cast<size_t>(C_in) * C_in;
  const float* from = partial + blockIdx.z * splits * size + row * C_in + column;
  const bool wanted = row <= column && column < C;
  float sum = 0.f;
  if (wanted) {
#pragma unroll 4
    for (int z = lane; z < splits; z += 4) sum += from[z * size];
  }
  found[lane][number] = sum;
  __syncthreads();
  if (lane > 0 || !wanted) return;
  sum = (sum + found[1][number] + (found[2][number] + found[3][number])) * scale;
  float* const to = out + static_cast<size_t>(blockIdx.z) * C * C;
  to[row * C + column] = sum;
  to[column * C + row] = sum;
}

// s (N, rows, K) = (g + gᵀ)·scale as weights for conv.cu, zeros beyond C. Grid: numbers of a matrix, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) symmetrize(
    const float* __restrict__ g, real* __restrict__ s, int C, int K, int count, float scale, int tf32) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const int row = interleaved(i / K), column = i % K;
  const float* from = g + static_cast<size_t>(blockIdx.y) * C * C;
  const float v = row < C && column < C ? (from[row * C + column] + from[column * C + row]) * scale : 0.f;
  s[static_cast<size_t>(blockIdx.y) * count + i] = to_operand(v, tf32);
}
