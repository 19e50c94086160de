// Adam (Kingma 2015) for many arrays at once, their running averages, and the norm of many gradients. Everything is
// float32. What differs from step to step is read from memory, so that a recorded launch finds what holds now:
// factor: what gradients are multiplied by, or not finite: nothing moves. Steps count from 1.
//
// pointers (arrays, ...): where the arrays are. sizes (arrays). blocks (blocks, 2): the array of
// each block, and where in it the block begins.
// Two blocks on a multiprocessor: for more of them nvcc would keep registers in memory.

DEVICE float* array_of(const unsigned long long* pointers, int i) { return reinterpret_cast<float*>(pointers[i]); }

// 1 - beta^step, with all its digits.
DEVICE float correction(float beta, float step) { return -expm1f(step * logf(beta)); }

// partial[block] = the sum of the squares of a block of numbers; pointers (arrays, 1). Grid: blocks.
extern "C" __global__ void __launch_bounds__(THREADS, 2) squares(
    const unsigned long long* __restrict__ pointers, const int* __restrict__ sizes, const int* __restrict__ blocks,
    float* __restrict__ partial) {
  __shared__ float room[THREADS / 32];
  const int array = blocks[2 * blockIdx.x], begin = blocks[2 * blockIdx.x + 1];
  const float* g = array_of(pointers, array);
  float sum = 0.f;
  for (int i = begin + threadIdx.x; i < min(begin + ADAM_NUMBERS, sizes[array]); i += THREADS) sum += g[i] * g[i];
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// norm = sqrt(Σ partial) / scale; factor = what makes that at most `max_norm` and takes the scale away. Grid: 1.
extern "C" __global__ void __launch_bounds__(THREADS, 2) clip_grad_norm(
    const float* __restrict__ partial, const float* __restrict__ scale, float* __restrict__ norm,
    float* __restrict__ factor, int count, float max_norm) {
  __shared__ float room[THREADS / 32];
  float sum = 0.f;
  for (int i = threadIdx.x; i < count; i += THREADS) sum += partial[i];
  sum = block_sum(sum, room);
  if (threadIdx.x) return;
  const float length = sqrtf(sum) / *scale;
  *norm = length;
  *factor = isfinite(length) ? min(1.f, max_norm / max(length, 1e-12f)) / *scale : length;
}

// pointers (arrays, 4): parameter, gradient, m, v. Grid: blocks.
extern "C" __global__ void __launch_bounds__(THREADS, 2) adam_many(
    const unsigned long long* __restrict__ pointers, const int* __restrict__ sizes, const int* __restrict__ blocks,
    const float* __restrict__ factor, const float* __restrict__ lr, const float* __restrict__ step, float beta1,
    float beta2, float eps) {
  if (!isfinite(*factor)) return;
  const int array = blocks[2 * blockIdx.x], begin = blocks[2 * blockIdx.x + 1];
  float* p = array_of(pointers, 4 * array);
  const float* g = array_of(pointers, 4 * array + 1);
  float* m = array_of(pointers, 4 * array + 2);
  float* v = array_of(pointers, 4 * array + 3);
  const float rate = *lr / correction(beta1, *step), second = correction(beta2, *step);
  for (int i = begin + threadIdx.x; i < min(begin + ADAM_NUMBERS, sizes[array]); i += THREADS) {
    const float d = g[i] * *factor;
    m[i] += (1.f - beta1) * (d - m[i]);
    v[i] += (1.f - beta2) * (d * d - v[i]);
    p[i] -= rate * m[i] / (sqrtf(v[i] / second) + eps);
  }
}

// average += weight · (p - average); pointers (arrays, 2): average, p. Grid: blocks.
extern "C" __global__ void __launch_bounds__(THREADS, 2) average_many(
    const unsigned long long* __restrict__ pointers, const int* __restrict__ sizes, const int* __restrict__ blocks,
    const float* __restrict__ factor, const float* __restrict__ weight) {
  if (!isfinite(*factor)) return;
  const int array = blocks[2 * blockIdx.x], begin = blocks[2 * blockIdx.x + 1];
  float* average = array_of(pointers, 2 * array);
  const float* p = array_of(pointers, 2 * array + 1);
  for (int i = begin + threadIdx.x; i < min(begin + ADAM_NUMBERS, sizes[array]); i += THREADS)
    average[i] += *weight * (p[i] - average[i]);
}
