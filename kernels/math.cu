// Squared distances of feature maps, sums in two stages whose order is always the same, and products of small matrices.

// partial[n][block] = the block's share of Σ (a - b)² over feature map n, and with `relative` of Σ b².
// Grid: any number of blocks, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) squared_distance(
    const real* __restrict__ a, const real* __restrict__ b, float2* __restrict__ partial, int words, int relative) {
  __shared__ float room[THREADS / 32];
  const size_t image = static_cast<size_t>(blockIdx.y) * words;
  float sum = 0.f, size = 0.f;
  for (int i = blockIdx.x * THREADS + threadIdx.x; i < words; i += gridDim.x * THREADS) {
    float va[VEC], vb[VEC];
    load(va, a + (image + i) * VEC);
    load(vb, b + (image + i) * VEC);
#pragma unroll
    for (int k = 0; k < VEC; k++) {
      sum += (va[k] - vb[k]) * (va[k] - vb[k]);
      size += vb[k] * vb[k];
    }
  }
  sum = block_sum(sum, room);
  if (relative) size = block_sum(size, room);
  if (threadIdx.x == 0) partial[blockIdx.y * gridDim.x + blockIdx.x] = make_float2(sum, size);
}

// total = Σ share[n] times the first of feature map n's sums, over its `count` blocks. The shares are the weights
// (none: 1), with `relative` divided by N times the second. One block.
extern "C" __global__ void __launch_bounds__(THREADS) join_distances(
    const float2* __restrict__ partial, const float* __restrict__ weight, float* __restrict__ total,
    float* __restrict__ share, int N, int count, int relative) {
  __shared__ float room[THREADS / 32];
  float all = 0.f;
  for (int n = 0; n < N; n++) {
    float sum = 0.f, size = 0.f;
    for (int i = threadIdx.x; i < count; i += THREADS) {
      const float2 part = partial[n * count + i];
      sum += part.x;
      size += part.y;
    }
    sum = block_sum(sum, room);
    if (relative) size = block_sum(size, room);
    if (threadIdx.x > 0) continue;
    const float mine = (weight ? weight[n] : 1.f) / (relative ? N * max(size, 1e-12f) : 1.f);
    share[n] = mine;
    all += mine * sum;
  }
  if (threadIdx.x == 0) total[0] = all;
}

// sum[n] = scale · Σ partial[n]. Grid: feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) join_sums(
    const float* __restrict__ partial, float* __restrict__ sum, int count, float scale) {
  __shared__ float room[THREADS / 32];
  float mine = 0.f;
  for (int i = threadIdx.x; i < count; i += THREADS) mine += partial[blockIdx.x * count + i];
  mine = block_sum(mine, room);
  if (threadIdx.x == 0) sum[blockIdx.x] = mine * scale;
}

// da = 2·g·share[n]·(a - b). Grid: words of a feature map, feature maps.
extern "C" __global__ void __launch_bounds__(THREADS) squared_distance_da(
    const float* __restrict__ g, const float* __restrict__ share, const real* __restrict__ a,
    const real* __restrict__ b, real* __restrict__ da, int words) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= words) return;
  const size_t at = (static_cast<size_t>(blockIdx.y) * words + i) * VEC;
  const float scale = 2.f * g[0] * share[blockIdx.y];
  float va[VEC], vb[VEC];
  load(va, a + at);
  load(vb, b + at);
#pragma unroll
  for (int k = 0; k < VEC; k++) va[k] = (va[k] - vb[k]) * scale;
  store(da + at, va);
}

// c (., I, K) = a (., I, J)·b (., J, K), whose matrices, rows and columns are so many numbers apart. A warp makes a
// number. Grid: numbers of c, eight to a block.
extern "C" __global__ void __launch_bounds__(THREADS) matmul(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int I, int J, int K, int a_apart,
    int a_row, int a_column, int b_apart, int b_row, int b_column, int count) {
  const int i = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (i >= count) return;
  const int n = i / (I * K);
  const float* const row = a + static_cast<size_t>(n) * a_apart + i / K % I * a_row;
  const float* const column = b + static_cast<size_t>(n) * b_apart + i % K * b_column;
  float sum = 0.f;
  for (int j = lane; j < J; j += 32) sum += row[j * a_column] * column[j * b_row];
#pragma unroll
  for (int by = 16; by; by /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, by);
  if (lane == 0) c[i] = sum;
}
