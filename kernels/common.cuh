// The device functions that every kernel file uses. nanostyle/backend/gpu/launch.py puts this text in front of each file,
// and in front of both the numbers that the kernels share with Python, as macros (constants.py).
//
// Arrays are stored as `real` (HALF=1: float16, else float32); arithmetic is in float. Feature maps are (N, H, W, C).
// Letters: N feature maps, H W pixels, P = H·W, C channels in, M channels out, K L kernel sides.
//
// The device functions in PTX have host versions of the same names in tests/cuda_on_cpu, where all of this is compiled
// by g++ and run on a CPU. Shared arrays are therefore declared in the kernels themselves.

#ifndef THREADS
#error "the numbers of nanostyle/backend/gpu/constants.py are missing: compile what launch.source() returns"
#endif

#define DEVICE static __device__ __forceinline__
#define METHOD __device__ __forceinline__

#ifndef CUDA_ON_CPU
#include <cuda_fp16.h>
typedef unsigned int uint32_t;

#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) char name[]

DEVICE uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// Four 8x8 matrices of 16-bit values; lane i points to row i % 8 of matrix i / 8. A lane gets two neighbors in a
// row of each: row lane/4, columns lane%4·2 and the next.
DEVICE void ldmatrix_x4(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(shared_address(row)) : "memory");
}

// The same, each matrix transposed.
DEVICE void ldmatrix_x4_trans(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(shared_address(row)) : "memory");
}

// d += a·b for a warp: a (16, 16), b (16, 8) in float16, d in float32.
DEVICE void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
  for (int k = 0; k < 2; k++)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(b[k]));
#endif
}

// float32 with the mantissa of TF32, to nearest: without it the hardware cuts off.
DEVICE uint32_t round_tf32(float f) {
  uint32_t bits = 0;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(f));
#endif
  return bits;
}

// d += a·b for a warp: a (16, 8), b (8, 8) in TF32, d in float32.
DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Copy 16 bytes from global to shared memory in the background; zeros, and nothing read, where the source is not
// `real`; nothing at all where it is not `wanted`.
DEVICE void cp_async(void* to, const void* from, bool real, bool wanted = true) {
#if __CUDA_ARCH__ >= 800
  // By a predicate and not by a branch: so copies that follow one another are issued together.
  asm volatile("{\n.reg .pred wanted;\nsetp.ne.b32 wanted, %3, 0;\n@wanted "
               "cp.async.cg.shared.global [%0], [%1], 16, %2;\n}"
               :: "r"(shared_address(to)), "l"(from), "r"(real ? 16 : 0), "r"(static_cast<int>(wanted)) : "memory");
#else
  if (wanted) *static_cast<uint4*>(to) = real ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}

// Close the group of copies issued since the last one.
DEVICE void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until at most OPEN of this thread's groups are still under way.
template <int OPEN> DEVICE void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" :: "n"(OPEN) : "memory");
#endif
}
#endif  // CUDA_ON_CPU

#if HALF
typedef __half real;
DEVICE real to_real(float f) { return __float2half_rn(f); }
DEVICE float to_float(real r) { return __half2float(r); }
#else
typedef float real;
DEVICE real to_real(float f) { return f; }
DEVICE float to_float(real r) { return r; }
#endif

// Eight numbers, the first of them on a multiple of eight.
DEVICE void store_eight(real* to, const float (&v)[8]) {
#if HALF
  struct __align__(16) Word { __half2 at[4]; } word;
#pragma unroll
  for (int i = 0; i < 4; i++) word.at[i] = __floats2half2_rn(v[2 * i], v[2 * i + 1]);
  *reinterpret_cast<Word*>(to) = word;
#else
  float4* const words = reinterpret_cast<float4*>(to);
  words[0] = make_float4(v[0], v[1], v[2], v[3]);
  words[1] = make_float4(v[4], v[5], v[6], v[7]);
#endif
}

// A number as a product of matrices will read it: with `tf32`, rounded to TF32, so that it need not be each time.
DEVICE real to_operand(float f, int tf32) {
#if !HALF
  if (tf32 && f == f) return __uint_as_float((__float_as_uint(f) + 0x1000u) & ~0x1fffu);
#endif
  return to_real(f);
}

// VEC channels of one pixel, read and written as one word: 16 bytes where C allows it, else one value.
#ifdef VEC
struct __align__(VEC * sizeof(real)) Word { real at[VEC]; };

DEVICE void load(float (&to)[VEC], const real* from) {
  const Word word = *reinterpret_cast<const Word*>(from);
#pragma unroll
  for (int i = 0; i < VEC; i++) to[i] = to_float(word.at[i]);
}

DEVICE void store(real* to, const float (&from)[VEC]) {
  Word word;
#pragma unroll
  for (int i = 0; i < VEC; i++) word.at[i] = to_real(from[i]);
  *reinterpret_cast<Word*>(to) = word;
}
#endif

// Weights for conv.cu lie in this order of the output channels: which of each 32 stands at a place, and at which place
// one stands (it is the same). So four fragments of a product give a lane eight neighbors, which leave as one word.
DEVICE constexpr int interleaved(int m) {
  return m / PACKED_ROWS * PACKED_ROWS + m % 8 / 2 * 8 + m % PACKED_ROWS / 8 * 2 + m % 2;
}

DEVICE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The sum of `v` over the block, in thread 0. `room` holds a float per warp.
DEVICE float block_sum(float v, float* room) {
#pragma unroll
  for (int by = 16; by; by >>= 1) v += __shfl_down_sync(0xffffffffu, v, by);
  __syncthreads();  // `room` may still be read from the last time
  if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int w = 1; w < THREADS / 32; w++) v += room[w];
  return v;
}

// The pixel that position i of an axis of n pixels repeats, however far outside it lies; -1 for zero padding.
DEVICE int border(int i, int n, int mode) {
  if (i >= 0 && i < n) return i;
  if (mode == PAD_ZERO) return -1;
  if (mode == PAD_EDGE || n == 1) return i < 0 ? 0 : n - 1;
  const int period = 2 * (n - 1);
  i = (i < 0 ? -i : i) % period;
  return i < period - i ? i : period - i;
}

// The same for a position less than n outside, without a division.
DEVICE int near_border(int i, int n, int mode) {
  if (mode == PAD_ZERO) return static_cast<unsigned>(i) < static_cast<unsigned>(n) ? i : -1;
  if (mode == PAD_EDGE) return min(max(i, 0), n - 1);
  i = i < 0 ? -i : i;
  return i < n ? i : 2 * (n - 1) - i;
}
