// CUDA C++ for a host compiler: what a kernel file may use, declared. runtime.cpp carries it out.
//
// Every CUDA thread is a fiber and one block runs at a time. Plain loads and stores reach the checker through the
// callbacks of -fsanitize=thread, which runtime.cpp defines; what the compiler cannot see reports itself.
//
// What a kernel file must keep to: `__shared__` arrays stand in the kernel itself, not in a function it calls;
// there are no atomics (their order would show in the result).
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#define CUDA_ON_CPU
#define __global__ __attribute__((visibility("default")))
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("emu_shared"), used))

struct uint3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emu {
struct Here { uint3 thread, block, block_dim, grid_dim; int lane; };
extern Here here;          // of the fiber that runs
extern char* dynamic;      // dynamic shared memory of the block that runs

void barrier();
// The lanes of `mask` meet; the last one to come carries out `act` on what everybody brought.
using Act = void (*)(void* const* brought, unsigned mask);
void meet(unsigned mask, void* brought, Act act);
void only_meet(void* const*, unsigned);
struct Shuffle { std::uint64_t value; int source; };
void shuffle(void* const*, unsigned);
struct Matrices { std::uint32_t out[4]; const void* row; };
void load_matrices(void* const*, unsigned);
void load_matrices_transposed(void* const*, unsigned);
struct Product { float (*d)[4]; const std::uint32_t (*a)[4]; const std::uint32_t (*b)[2]; };
void multiply_f16(void* const*, unsigned);
void multiply_tf32(void* const*, unsigned);
void copy_later(void* to, const void* from, int bytes, bool real);
void end_group();
void wait_for_groups(int still_open);

float half_to_float(std::uint16_t);
std::uint16_t float_to_half(float);

template <class T> T exchange(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 8);
  Shuffle s{0, source};
  std::memcpy(&s.value, &value, sizeof value);
  meet(mask, &s, shuffle);
  std::memcpy(&value, &s.value, sizeof value);
  return value;
}
}  // namespace emu

#define threadIdx (emu::here.thread)
#define blockIdx (emu::here.block)
#define blockDim (emu::here.block_dim)
#define gridDim (emu::here.grid_dim)
#define DYNAMIC_SHARED(name) char* name = emu::dynamic

inline void __syncthreads() { emu::barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { emu::meet(mask, nullptr, emu::only_meet); }
template <class T> T __shfl_sync(unsigned mask, T v, int lane) { return emu::exchange(mask, v, lane & 31); }
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits) {
  return emu::exchange(mask, v, emu::here.lane ^ bits);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, int by) {
  return emu::exchange(mask, v, emu::here.lane + by < 32 ? emu::here.lane + by : emu::here.lane);
}

template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
using std::isfinite;
inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
inline float __uint_as_float(unsigned bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

inline unsigned __float_as_uint(float f) {
  unsigned bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

struct __half {
  std::uint16_t bits;
  __half() = default;
  __half(float f) : bits(emu::float_to_half(f)) {}
  operator float() const { return emu::half_to_float(bits); }
};
inline __half __float2half_rn(float f) { return f; }
inline float __half2float(__half h) { return h; }
struct alignas(4) __half2 { __half x, y; };
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }

// --- the device functions on the host, as that common.cuh writes in PTX ---

inline void ldmatrix_x4(std::uint32_t (&out)[4], const void* row) {
  emu::Matrices m{{}, row};
  emu::meet(0xffffffffu, &m, emu::load_matrices);
  std::memcpy(out, m.out, sizeof m.out);
}
inline void ldmatrix_x4_trans(std::uint32_t (&out)[4], const void* row) {
  emu::Matrices m{{}, row};
  emu::meet(0xffffffffu, &m, emu::load_matrices_transposed);
  std::memcpy(out, m.out, sizeof m.out);
}
inline void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  emu::Product p{&d, &a, &b};
  emu::meet(0xffffffffu, &p, emu::multiply_f16);
}
inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  emu::Product p{&d, &a, &b};
  emu::meet(0xffffffffu, &p, emu::multiply_tf32);
}
inline std::uint32_t round_tf32(float f) {  // to nearest, ties away from 0: cvt.rna.tf32
  std::uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return (bits + 0x1000u) & ~0x1fffu;
}
inline void cp_async(void* to, const void* from, bool real, bool wanted = true) {
  if (wanted) emu::copy_later(to, from, 16, real);
}
inline void cp_async_commit() { emu::end_group(); }
template <int OPEN> void cp_async_wait() { emu::wait_for_groups(OPEN); }

// --- what Python finds in the library: for each kernel a call, its parameters' types, its largest block ---

namespace emu {
template <class T> constexpr char letter() {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, float2>) return 'f';
  else if constexpr (std::is_same_v<T, __half>) return 'e';
  else if constexpr (std::is_same_v<T, int>) return 'i';
  else if constexpr (std::is_same_v<T, unsigned char>) return 'B';
  else if constexpr (std::is_same_v<T, unsigned long long>) return 'Q';
  else static_assert(sizeof(T) == 0, "a kernel parameter is an int, a float or a pointer to a known type");
}
template <class T> struct Parameter { static constexpr char code[3] = {' ', letter<T>(), 0}; };
template <class T> struct Parameter<T*> {
  static constexpr char code[3] = {'*', letter<std::remove_const_t<T>>(), 0};
};
template <class... P> struct Kernel {
  static inline const char* const parameters[] = {Parameter<P>::code..., nullptr};
  template <std::size_t... I>
  __attribute__((no_sanitize("thread"))) static void call(void (*kernel)(P...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(args[I])...);
  }
};
template <class... P> Kernel<P...> kernel_of(void (*)(P...));
template <class... P> void call(void (*kernel)(P...), void** args) {
  Kernel<P...>::call(kernel, args, std::index_sequence_for<P...>{});
}
}  // namespace emu

#define EMULATED_KERNEL(name, threads)                               \
  extern "C" __global__ const char* const* emu_parameters_##name() { \
    return decltype(emu::kernel_of(name))::parameters;               \
  }                                                                  \
  extern "C" __global__ int emu_threads_##name() { return threads; } \
  extern "C" __global__ void emu_call_##name(void** args) { emu::call(name, args); }
