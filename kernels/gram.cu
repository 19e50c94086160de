// What Gram matrices and weight gradients need around the products of conv.cu and wgrad.cu, and total variation.

// out (groups, KL, C, M) = scale · the sum of `splits` partial results (groups·splits, KL, C_in, M_in) of wgrad.cu;
// channels above C and M are padding. `symmetric`: what is below the diagonal is read above it.
// Grid: numbers of a result, groups.
extern "C" __global__ void __launch_bounds__(THREADS) join_splits(
    const float* __restrict__ partial, float* __restrict__ out, int splits, int KL, int C, int C_in, int M, int M_in,
    float scale, int symmetric) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= KL * C * M) return;
  const int m = i % M, c = i / M % C, kl = i / M / C;
  const bool swap = symmetric && c > m;
  const size_t size = static_cast<size_t>(KL) * C_in * M_in;
  const float* from = partial + blockIdx.y * splits * size + (kl * C_in + (swap ? m : c)) * M_in + (swap ? c : m);
  float sum = 0.f;
  for (int z = 0; z < splits; z++) sum += from[z * size];
  out[static_cast<size_t>(blockIdx.y) * KL * C * M + i] = sum * scale;
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

// dx = 2·g/count times the sum of the differences to the four neighbours. Grid: numbers of x.
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
