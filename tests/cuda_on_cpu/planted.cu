// Small kernels for the tests of the emulator: some are right, and each of the others holds one fault.

constexpr unsigned ALL = 0xffffffffu;

// --- right ---

extern "C" __global__ void __launch_bounds__(64) reverse_blocks(const float* x, float* y) {
  __shared__ float s[64];
  const int i = blockIdx.x * 64 + threadIdx.x;
  s[threadIdx.x] = x[i];
  __syncthreads();
  y[i] = s[63 - threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) shuffles(float* x) {
  x[threadIdx.x] = __shfl_xor_sync(ALL, x[threadIdx.x], 1) + __shfl_sync(ALL, x[threadIdx.x], 5);
}

extern "C" __global__ void __launch_bounds__(64) rotate(float* x, float scale, int by) {
  DYNAMIC_SHARED(bytes);
  float* s = reinterpret_cast<float*>(bytes);
  s[threadIdx.x] = x[threadIdx.x] * scale;
  __syncthreads();
  x[threadIdx.x] = s[(threadIdx.x + by) % 64];
}

extern "C" __global__ void __launch_bounds__(64) matrices(const __half* x, __half* y, int transposed) {
  __shared__ __align__(16) __half s[256];
  for (int i = threadIdx.x; i < 256; i += 32) s[i] = x[i];
  __syncthreads();
  uint32_t r[4];
  if (transposed) ldmatrix_x4_trans(r, s + threadIdx.x * 8);
  else ldmatrix_x4(r, s + threadIdx.x * 8);
  for (int i = 0; i < 8; i++) y[threadIdx.x * 8 + i].bits = r[i / 2] >> i % 2 * 16;
}

extern "C" __global__ void __launch_bounds__(64) product_f16(const __half* a, const __half* b, float* d) {
  __shared__ __align__(16) __half s[16 * 16 + 8 * 16];
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) s[i] = a[i];
  for (int i = lane; i < 128; i += 32) s[256 + i] = b[i];
  __syncthreads();
  uint32_t fa[4], r[4];
  ldmatrix_x4(fa, s + lane % 16 * 16 + lane / 16 * 8);
  ldmatrix_x4(r, s + 256 + lane % 8 * 16 + lane / 8 % 2 * 8);
  const uint32_t fb[2] = {r[0], r[1]};
  float acc[4] = {};
  mma_f16(acc, fa, fb);
  for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = acc[i];
}

extern "C" __global__ void __launch_bounds__(64) product_tf32(const float* a, const float* b, float* d) {
  const int row = threadIdx.x / 4, k = threadIdx.x % 4;
  const uint32_t fa[4] = {round_tf32(a[row * 8 + k]), round_tf32(a[(row + 8) * 8 + k]), round_tf32(a[row * 8 + k + 4]),
                          round_tf32(a[(row + 8) * 8 + k + 4])};
  const uint32_t fb[2] = {round_tf32(b[row * 8 + k]), round_tf32(b[row * 8 + k + 4])};
  float acc[4] = {};
  mma_tf32(acc, fa, fb);
  for (int i = 0; i < 4; i++) d[(row + i / 2 * 8) * 8 + k * 2 + i % 2] = acc[i];
}

extern "C" __global__ void __launch_bounds__(64) copy_of_nothing(float* x) {
  __shared__ __align__(16) float s[4];
  cp_async(s, nullptr, false);
  cp_async_commit();
  cp_async_wait<0>();
  x[0] = s[3];
}

// --- races; `fence` puts the barrier in that makes them right ---

extern "C" __global__ void __launch_bounds__(64) neighbor(float* x, int distance, int fence) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  if (fence == 1) __shfl_sync(ALL, 0, 0);
  if (fence == 2) __syncwarp();
  if (fence == 3) __syncthreads();
  x[threadIdx.x] = s[threadIdx.x ^ distance];
}

extern "C" __global__ void __launch_bounds__(64) narrow_stores(unsigned char* x, int to_each) {
  x[threadIdx.x / to_each] = 1;
}

extern "C" __global__ void __launch_bounds__(64) sum_of_blocks(float* x) {
  if (threadIdx.x == 0) x[0] += 1;
}

extern "C" __global__ void __launch_bounds__(64) copy_too_early(float* x, const float* y, int fence) {
  __shared__ __align__(16) float s[4];
  if (threadIdx.x < 4) s[threadIdx.x] = 1;
  __syncthreads();
  const float v = s[threadIdx.x % 4];
  if (fence) __syncthreads();
  if (threadIdx.x == 0) {
    cp_async(s, y, true);
    cp_async_commit();
    cp_async_wait<0>();
  }
  x[threadIdx.x] = v;
}

static int tickets;
__attribute__((noinline, no_sanitize("thread"))) static int ticket() { return tickets++ % 64; }

extern "C" __global__ void __launch_bounds__(64) order_of_arrival(float* x) { x[threadIdx.x] = ticket(); }

// --- wrong places ---

extern "C" __global__ void __launch_bounds__(64) write_at(float* x, int offset) {
  x[static_cast<int>(threadIdx.x) + offset] = 0;
}

extern "C" __global__ void __launch_bounds__(64) read_at(float* x, int offset) {
  x[0] = x[static_cast<int>(threadIdx.x) + offset];
}

extern "C" __global__ void __launch_bounds__(64) past_a_shared_array(float* x, int n) {
  __shared__ float a[8];
  __shared__ float b[64];
  b[threadIdx.x] = 0;
  a[threadIdx.x + n] = 0;
  x[0] = a[0] + b[0];
}

extern "C" __global__ void __launch_bounds__(64) misaligned_word(float* x, int offset) {
  *reinterpret_cast<float4*>(x + offset) = make_float4(1, 2, 3, 4);
}

extern "C" __global__ void __launch_bounds__(64) misaligned_copy(const float* x) {
  __shared__ __align__(16) float s[8];
  cp_async(s + 1, x, true);
}

extern "C" __global__ void __launch_bounds__(64) misaligned_matrices(float* x) {
  __shared__ __align__(16) float s[9];
  uint32_t r[4];
  ldmatrix_x4(r, s + 1);
  x[0] = r[0];
}

// --- values that are not there yet ---

extern "C" __global__ void __launch_bounds__(64) uninitialized(float* x) {
  __shared__ float s[64];
  x[threadIdx.x] = s[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) copy_not_waited_for(float* x, int wait) {
  __shared__ __align__(16) float s[2][4];
  for (int i = 0; i < 2; i++) {
    cp_async(s[i], x + 4 * i, true);
    cp_async_commit();
  }
  if (wait) cp_async_wait<0>();
  else cp_async_wait<1>();
  const float v = s[0][1] + s[1][1];
  cp_async_wait<0>();
  x[0] = v;
}

// --- threads that do not meet ---

extern "C" __global__ void __launch_bounds__(64) early_exit(float* x) {
  if (threadIdx.x < 32) return;
  __syncthreads();
  x[0] = 0;
}

extern "C" __global__ void __launch_bounds__(64) different_barriers(float* x) {
  if (threadIdx.x % 32 < 16) __syncwarp();
  else __syncthreads();
  x[0] = 0;
}

extern "C" __global__ void __launch_bounds__(64) outside_the_mask(float* x) {
  __syncwarp(1u);
  x[0] = 0;
}
