// Squared distances of pictures, sums in two stages whose order is always the same, and products of small matrices.

// partial[n][block] = the block's share of Σ (a - b)² over picture n; without b of Σ a². Grid: any number of blocks, pictures.
extern "C" __global__ void __launch_bounds__(THREADS) squared_distance(
    const real* __restrict__ a, const real* __restrict__ b, float* __restrict__ partial, int words) {
  __shared__ float room[THREADS / 32];
  const size_t picture = static_cast<size_t>(blockIdx.y) * words;
  float sum = 0.f;
  for (int i = blockIdx.x * THREADS + threadIdx.x; i < words; i += gridDim.x * THREADS) {
    float va[VEC], vb[VEC] = {};
    load(va, a + (picture + i) * VEC);
    if (b) load(vb, b + (picture + i) * VEC);
#pragma unroll
    for (int k = 0; k < VEC; k++) sum += (va[k] - vb[k]) * (va[k] - vb[k]);
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) partial[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// sum[n] = scale · Σ partial[n]. Grid: pictures.
extern "C" __global__ void __launch_bounds__(THREADS) join_sums(
    const float* __restrict__ partial, float* __restrict__ sum, int count, float scale) {
  __shared__ float room[THREADS / 32];
  float mine = 0.f;
  for (int i = threadIdx.x; i < count; i += THREADS) mine += partial[blockIdx.x * count + i];
  mine = block_sum(mine, room);
  if (threadIdx.x == 0) sum[blockIdx.x] = mine * scale;
}

// da = 2·g[n]·(a - b). Grid: words of a picture, pictures.
extern "C" __global__ void __launch_bounds__(THREADS) squared_distance_da(
    const float* __restrict__ g, const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ da,
    int words) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= words) return;
  const size_t at = (static_cast<size_t>(blockIdx.y) * words + i) * VEC;
  const float scale = 2.f * g[blockIdx.y];
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
