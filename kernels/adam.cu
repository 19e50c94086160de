// Adam (Kingma 2015), for one array or for many at once, and the length of many gradients. Everything is float32.
// Two blocks on a multiprocessor: for more of them nvcc would keep registers in memory.

// One number of a parameter. `lr` has the first correction, 1 - beta1^step, in it; `correction` is the second.
DEVICE void update(
    float& p, float g, float& m, float& v, float lr, float beta1, float beta2, float eps, float correction) {
  m += (1.f - beta1) * (g - m);
  v += (1.f - beta2) * (g * g - v);
  p -= lr * m / (sqrtf(v / correction) + eps);
}

// Grid: numbers of the array.
extern "C" __global__ void __launch_bounds__(THREADS, 2) adam_one(
    float* __restrict__ p, const float* __restrict__ g, float* __restrict__ m, float* __restrict__ v, float lr,
    float beta1, float beta2, float eps, float correction, int count) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i < count) update(p[i], g[i], m[i], v[i], lr, beta1, beta2, eps, correction);
}

// --- many arrays ---
//
// pointers (arrays, ...): where they are. sizes (arrays). chunks (blocks, 2): which array, and from where in it.

constexpr int CHUNK = 16 * THREADS;

DEVICE float* array_of(const unsigned long long* pointers, int i) { return reinterpret_cast<float*>(pointers[i]); }

// partial[block] = the sum of the squares of a chunk; pointers (arrays, 1). Grid: chunks.
extern "C" __global__ void __launch_bounds__(THREADS, 2) squares(
    const unsigned long long* __restrict__ pointers, const int* __restrict__ sizes, const int* __restrict__ chunks,
    float* __restrict__ partial) {
  __shared__ float room[THREADS / 32];
  const int array = chunks[2 * blockIdx.x], begin = chunks[2 * blockIdx.x + 1];
  const float* g = array_of(pointers, array);
  float sum = 0.f;
  for (int i = begin + threadIdx.x; i < min(begin + CHUNK, sizes[array]); i += THREADS) sum += g[i] * g[i];
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// The gradients are multiplied by `factor` first. pointers (arrays, 4): parameter, gradient, m, v. Grid: chunks.
extern "C" __global__ void __launch_bounds__(THREADS, 2) adam_many(
    const unsigned long long* __restrict__ pointers, const int* __restrict__ sizes, const int* __restrict__ chunks,
    float factor, float lr, float beta1, float beta2, float eps, float correction) {
  const int array = chunks[2 * blockIdx.x], begin = chunks[2 * blockIdx.x + 1];
  float* p = array_of(pointers, 4 * array);
  const float* g = array_of(pointers, 4 * array + 1);
  float* m = array_of(pointers, 4 * array + 2);
  float* v = array_of(pointers, 4 * array + 3);
  for (int i = begin + threadIdx.x; i < min(begin + CHUNK, sizes[array]); i += THREADS)
    update(p[i], g[i] * factor, m[i], v[i], lr, beta1, beta2, eps, correction);
}
