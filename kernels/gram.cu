// What Gram matrices and weight gradients need around the products of conv.cu and wgrad.cu, and total variation.

// out (KL, C, M) = the sum of `splits` partial results (splits, KL, C_in, M_in) of wgrad.cu; channels above C and M are
// padding. 32 numbers to a block, eight threads to a number. Grid: groups of 32 numbers.
extern "C" __global__ void __launch_bounds__(THREADS) join_splits(
    const float* __restrict__ partial, float* __restrict__ out, int splits, int KL, int C, int C_in, int M, int M_in) {
  __shared__ float found[8][32];
  const int lane = threadIdx.x / 32, i = blockIdx.x * 32 + threadIdx.x % 32, count = KL * C * M;
  const int m = i % M, c = i / M % C, kl = i / M / C;
  const size_t size = static_cast<size_t>(KL) * C_in * M_in;
  float sum = 0.f;
  if (i < count) {
#pragma unroll 4
    for (int z = lane; z < splits; z += 8) sum += partial[z * size + (kl * C_in + c) * M_in + m];
  }
  found[lane][threadIdx.x % 32] = sum;
  __syncthreads();
  if (lane > 0 || i >= count) return;
  for (int other = 1; other < 8; other++) sum += found[other][threadIdx.x];
  out[i] = sum;
}

// out (N, C, C) = scale times the sum of each picture's `splits` partial Gram matrices (N·splits, C_in, C_in): what is on
// the diagonal and above it, written there and mirrored. A block makes 8 x 8 numbers, by four threads each.
// Grid: tiles across, tiles down, pictures.
extern "C" __global__ void __launch_bounds__(THREADS) join_gram(
    const float* __restrict__ partial, float* __restrict__ out, int splits, int C, int C_in, float scale) {
  __shared__ float found[4][64];
  if (blockIdx.x < blockIdx.y) return;
  const int lane = threadIdx.x / 64, number = threadIdx.x % 64;
  const int row = blockIdx.y * 8 + number / 8, column = blockIdx.x * 8 + number % 8;
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

// s (N, rows, K) = (g + gᵀ)·scale as weights for conv.cu, zeros beyond C. Grid: numbers of a matrix, pictures.
extern "C" __global__ void __launch_bounds__(THREADS) symmetrise(
    const float* __restrict__ g, real* __restrict__ s, int C, int K, int count, float scale, int tf32) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const int row = interleaved(i / K), column = i % K;
  const float* from = g + static_cast<size_t>(blockIdx.y) * C * C;
  const float v = row < C && column < C ? (from[row * C + column] + from[column * C + row]) * scale : 0.f;
  s[static_cast<size_t>(blockIdx.y) * count + i] = to_operand(v, tf32);
}

DEVICE float difference(const real* x, size_t to, size_t from) { return to_float(x[to]) - to_float(x[from]); }

// partial[block] = the block's share of the sum of squared differences to the pixel below and to the right.
// Grid: any number of blocks.
extern "C" __global__ void __launch_bounds__(THREADS) total_variation(
    const real* __restrict__ x, float* __restrict__ partial, int H, int W, int C, int count) {
  __shared__ float room[THREADS / 32];
  float sum = 0.f;
  for (int i = blockIdx.x * THREADS + threadIdx.x; i < count; i += gridDim.x * THREADS) {
    const int w = i / C % W, h = i / (W * C) % H;
    const float down = h + 1 < H ? difference(x, i + W * C, i) : 0.f;
    const float right = w + 1 < W ? difference(x, i + C, i) : 0.f;
    sum += down * down + right * right;
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// dx = 2·g/count times the sum of the differences to the four neighbors. Grid: numbers of x.
extern "C" __global__ void __launch_bounds__(THREADS) total_variation_dx(
    const float* __restrict__ g, const real* __restrict__ x, real* __restrict__ dx, int H, int W, int C, int count) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const int w = i / C % W, h = i / (W * C) % H;
  float sum = 0.f;
  if (h > 0) sum += difference(x, i, i - W * C);
  if (h + 1 < H) sum += difference(x, i, i + W * C);
  if (w > 0) sum += difference(x, i, i - C);
  if (w + 1 < W) sum += difference(x, i, i + C);
  dx[i] = to_real(2.f * g[0] / count * sum);
}
