// Total variation, and its gradient.

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
