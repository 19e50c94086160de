// Sums over whole arrays, in two stages whose order is always the same.

// partial[block] = the block's share of Σ (a - b)². Grid: any number of blocks.
extern "C" __global__ void __launch_bounds__(THREADS) squared_distance(
    const real* __restrict__ a, const real* __restrict__ b, float* __restrict__ partial, int words) {
  __shared__ float room[THREADS / 32];
  float sum = 0.f;
  for (int i = blockIdx.x * THREADS + threadIdx.x; i < words; i += gridDim.x * THREADS) {
    float va[VEC], vb[VEC];
    load(va, a + static_cast<size_t>(i) * VEC);
    load(vb, b + static_cast<size_t>(i) * VEC);
#pragma unroll
    for (int k = 0; k < VEC; k++) sum += (va[k] - vb[k]) * (va[k] - vb[k]);
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// sum[0] = scale · Σ partial. Grid: one block.
extern "C" __global__ void __launch_bounds__(THREADS) join_sums(
    const float* __restrict__ partial, float* __restrict__ sum, int count, float scale) {
  __shared__ float room[THREADS / 32];
  float mine = 0.f;
  for (int i = threadIdx.x; i < count; i += THREADS) mine += partial[i];
  mine = block_sum(mine, room);
  if (threadIdx.x == 0) sum[0] = mine * scale;
}
