// Adam (Kingma 2015), for one array or for many at once. Everything is float32.

// One number of a parameter. `lr` has the first correction, 1 - beta1^step, in it; `correction` is the second.
DEVICE void update(
    float& p, float g, float& m, float& v, float lr, float beta1, float beta2, float eps, float correction) {
  m += (1.f - beta1) * (g - m);
  v += (1.f - beta2) * (g * g - v);
  p -= lr * m / (sqrtf(v / correction) + eps);
}

// Grid: numbers of the array.
extern "C" __global__ void __launch_bounds__(THREADS) adam_one(
    float* __restrict__ p, const float* __restrict__ g, float* __restrict__ m, float* __restrict__ v, float lr,
    float beta1, float beta2, float eps, float correction, int count) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i < count) update(p[i], g[i], m[i], v[i], lr, beta1, beta2, eps, correction);
}

// --- many arrays, with a loss scale that adapts ---
//
// Whatever changes from step to step is in device memory, so that a CUDA graph can repeat the launches.
// pointers (arrays, 4): parameter, gradient, m, v. chunks (blocks, 2): which array, and from where in it.

constexpr int CHUNK = 16 * THREADS;

enum State { STEP, LEARNING_RATE, LOSS_SCALE, GOOD_STEPS, UNSCALE, SKIP, CORRECTION_1, CORRECTION_2 };

DEVICE float* array_of(const unsigned long long* pointers, int i) { return reinterpret_cast<float*>(pointers[i]); }

// bad[block] = how many numbers of the chunk's gradient are not finite. Grid: chunks.
extern "C" __global__ void __launch_bounds__(THREADS) adam_check(
    const unsigned long long* __restrict__ pointers, const int* __restrict__ sizes, const int* __restrict__ chunks,
    float* __restrict__ bad) {
  __shared__ float room[THREADS / 32];
  const int array = chunks[2 * blockIdx.x], begin = chunks[2 * blockIdx.x + 1];
  const float* g = array_of(pointers, 4 * array + 1);
  float found = 0.f;
  for (int i = begin + threadIdx.x; i < min(begin + CHUNK, sizes[array]); i += THREADS) {
    const float v = g[i];
    found += v - v == 0.f ? 0.f : 1.f;
  }
  found = block_sum(found, room);
  if (threadIdx.x == 0) bad[blockIdx.x] = found;
}

// Decide about the step: skip it and halve the loss scale where a gradient is not finite; double the scale after
// `growth` good steps (0: the scale stays as it is). Grid: one block.
extern "C" __global__ void __launch_bounds__(THREADS) adam_begin(
    const float* __restrict__ bad, float* __restrict__ state, int count, int growth, float log_beta1, float log_beta2) {
  __shared__ float room[THREADS / 32];
  float found = 0.f;
  for (int i = threadIdx.x; i < count; i += THREADS) found += bad[i];
  found = block_sum(found, room);
  if (threadIdx.x != 0) return;
  state[UNSCALE] = 1.f / state[LOSS_SCALE];
  state[SKIP] = found > 0.f ? 1.f : 0.f;
  if (found > 0.f) {
    state[GOOD_STEPS] = 0.f;
    if (growth) state[LOSS_SCALE] *= 0.5f;
    return;
  }
  const float step = state[STEP] += 1.f;
  state[CORRECTION_1] = -expm1f(step * log_beta1);  // 1 - beta1^step
  state[CORRECTION_2] = -expm1f(step * log_beta2);
  state[GOOD_STEPS] += 1.f;
  if (growth && state[GOOD_STEPS] >= growth) {
    state[GOOD_STEPS] = 0.f;
    state[LOSS_SCALE] *= 2.f;
  }
}

// Grid: chunks.
extern "C" __global__ void __launch_bounds__(THREADS) adam_many(
    const unsigned long long* __restrict__ pointers, const int* __restrict__ sizes, const int* __restrict__ chunks,
    const float* __restrict__ state, float beta1, float beta2, float eps) {
  if (state[SKIP] != 0.f) return;
  const int array = chunks[2 * blockIdx.x], begin = chunks[2 * blockIdx.x + 1];
  float* p = array_of(pointers, 4 * array);
  const float* g = array_of(pointers, 4 * array + 1);
  float* m = array_of(pointers, 4 * array + 2);
  float* v = array_of(pointers, 4 * array + 3);
  const float lr = state[LEARNING_RATE] / state[CORRECTION_1];
  for (int i = begin + threadIdx.x; i < min(begin + CHUNK, sizes[array]); i += THREADS)
    update(p[i], g[i] * state[UNSCALE], m[i], v[i], lr, beta1, beta2, eps, state[CORRECTION_2]);
}
