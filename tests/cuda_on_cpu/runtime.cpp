// The other half of cuda_on_cpu.h: fibers, barriers, warp functions, and the checker of memory accesses.
//
// The first finding ends the launch: the fiber jumps back to the scheduler before the access is carried out, so
// that a wrong kernel harms nothing. Compiled without instrumentation, and linked in place of libtsan and libubsan.
#include "cuda_on_cpu.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

extern "C" {
extern char __start_emu_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_emu_shared[] __attribute__((weak, visibility("hidden")));
}

namespace emu {
Here here;
char* dynamic;

namespace {
// --- fibers and the scheduler ---

constexpr std::size_t STACK = 256 << 10;
constexpr int MOST_THREADS = 1024;

struct Fiber { ucontext_t first; jmp_buf at; char* stack; bool begun = false; };
struct Copy { char* to; const char* from; int bytes; bool real; };
enum State { READY, AT_BARRIER, AT_WARP, DONE };
struct Thread {
  uint3 index;
  State state;
  unsigned mask;
  void* brought;
  Act act;
  void* site;  // where the kernel called the warp function
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};

Fiber fibers[MOST_THREADS];
Thread threads[MOST_THREADS];
int count, current;
void (*body)(void**);
void** body_args;
jmp_buf scheduler;
bool failed, inside;
char message[512];

[[noreturn]] void fail(const char* format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  failed = true;
  inside = false;
  _longjmp(scheduler, 1);
}

void suspend() {
  inside = false;
  if (!_setjmp(fibers[current].at)) _longjmp(scheduler, 1);
}

void fiber_main() {
  for (;;) {
    inside = true;
    body(body_args);
    threads[current].state = DONE;
    suspend();
  }
}

void resume(int i) {
  Fiber& f = fibers[i];
  current = i;
  here.thread = threads[i].index;
  here.lane = i & 31;
  if (_setjmp(scheduler)) return;
  if (f.begun) {
    inside = true;
    _longjmp(f.at, 1);
  }
  if (!f.stack) {
    f.stack = static_cast<char*>(mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  f.begun = true;
  getcontext(&f.first);
  f.first.uc_stack.ss_sp = f.stack;
  f.first.uc_stack.ss_size = STACK;
  makecontext(&f.first, fiber_main, 0);
  setcontext(&f.first);
}

// --- the checker: who touched a granule last, and may the one who touches it now ---

struct Access { std::uint64_t block = 0; int barrier, warp_barrier, thread; void* site; };
struct Cell { Access write, read, other_read; };
struct Buffer {
  std::uintptr_t first, end;
  int granule;
  bool shared;
  Cell* cells = nullptr;
};
std::vector<Buffer> buffers;
std::uint64_t block, first_block = 1;  // blocks are numbered on and on, so that old cells show
int barriers, warp_barriers[MOST_THREADS / 32];

bool unordered(const Access& past, const Buffer& buffer) {
  if (past.block < first_block) return false;
  if (past.block != block) return !buffer.shared;
  if (past.thread == current || past.barrier != barriers) return false;
  return past.thread / 32 != current / 32 || past.warp_barrier == warp_barriers[current / 32];
}

void race(const char* what, void* site, std::uintptr_t at, const Access& past) {
  fail("race, %s: block %llu thread %d at {%p}, block %llu thread %d at {%p}, address %#zx", what,
       static_cast<unsigned long long>(block - first_block), current, site,
       static_cast<unsigned long long>(past.block - first_block), past.thread, past.site, at);
}

void check(std::uintptr_t at, int bytes, bool write, void* site) {
  for (Buffer& b : buffers) {
    if (at < b.first || at >= b.end) continue;
    if (at + bytes > b.end) break;
    if (!b.cells) b.cells = static_cast<Cell*>(calloc((b.end - b.first) / b.granule + 1, sizeof(Cell)));
    const Access me{block, barriers, warp_barriers[current / 32], current, site};
    for (auto c = (at - b.first) / b.granule; c <= (at + bytes - 1 - b.first) / b.granule; c++) {
      Cell& cell = b.cells[c];
      if (unordered(cell.write, b)) race(write ? "write after write" : "read after write", site, at, cell.write);
      if (write) {
        if (unordered(cell.read, b)) race("write after read", site, at, cell.read);
        if (unordered(cell.other_read, b)) race("write after read", site, at, cell.other_read);
        cell.write = me;
      } else if (cell.read.block != block || cell.read.barrier != barriers || cell.read.thread == current) {
        cell.read = me;
      } else {
        cell.other_read = me;
      }
    }
    return;
  }
  fail("out of bounds: %s of %d bytes by block %llu thread %d at {%p}, address %#zx", write ? "write" : "read", bytes,
       static_cast<unsigned long long>(block - first_block), current, site, at);
}

void on_access(const void* address, int bytes, bool write, void* site) {
  if (!inside) return;
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto stack = reinterpret_cast<std::uintptr_t>(fibers[current].stack);
  const auto own = reinterpret_cast<std::uintptr_t>(&here);
  if (at - stack < STACK || at - own < sizeof here || address == &dynamic) return;
  check(at, bytes, write, site);
}

long matrix_phases, extra_cycles;
}  // namespace

// --- barriers and warp functions ---

void barrier() {
  threads[current].state = AT_BARRIER;
  suspend();
}

void meet(unsigned mask, void* brought, Act act) {
  inside = false;
  Thread& me = threads[current];
  const int warp = current & ~31;
  if (!(mask >> here.lane & 1)) fail("block %llu thread %d: the mask %#x leaves the lane out that uses it",
                                     static_cast<unsigned long long>(block - first_block), current, mask);
  me.mask = mask;
  me.brought = brought;
  me.act = act;
  me.site = __builtin_return_address(0);
  for (int lane = 0; lane < 32; lane++) {
    const Thread& t = threads[warp + lane];
    if (!(mask >> lane & 1) || warp + lane == current) continue;
    if (warp + lane < count && t.state == AT_WARP && t.mask == mask && t.act == act) continue;
    me.state = AT_WARP;
    return suspend();
  }
  void* all[32];
  for (int lane = 0; lane < 32; lane++) {
    all[lane] = threads[warp + lane].brought;
    if (mask >> lane & 1) threads[warp + lane].state = READY;
  }
  act(all, mask);
  inside = true;
}

void only_meet(void* const*, unsigned) { warp_barriers[current / 32]++; }

void shuffle(void* const* brought, unsigned mask) {
  std::uint64_t values[32];
  for (int i = 0; i < 32; i++) values[i] = mask >> i & 1 ? static_cast<Shuffle*>(brought[i])->value : ~0ull;
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1) static_cast<Shuffle*>(brought[i])->value = values[static_cast<Shuffle*>(brought[i])->source];
}

namespace {
// The four 8x8 matrices of 16-bit values, row by row as the lanes point to them; counts bank conflicts on the way.
void read_matrices(void* const* brought, std::uint16_t (&m)[4][8][8]) {
  const int me = current;
  for (int i = 0; i < 4; i++) {
    int in_bank[8] = {}, most = 0;
    for (int row = 0; row < 8; row++) {
      const int lane = i * 8 + row;
      const void* from = static_cast<Matrices*>(brought[lane])->row;
      const auto at = reinterpret_cast<std::uintptr_t>(from);
      if (at & 15) fail("misaligned: ldmatrix at address %#zx, thread %d at {%p}", at, me, threads[me].site);
      most = std::max(most, ++in_bank[at >> 4 & 7]);
      current = (me & ~31) + lane;
      check(at, 16, false, threads[me].site);
      std::memcpy(m[i][row], from, 16);
    }
    matrix_phases++;
    extra_cycles += most - 1;
  }
  current = me;
}
}  // namespace

void load_matrices(void* const* brought, unsigned) {
  std::uint16_t m[4][8][8];
  read_matrices(brought, m);
  for (int lane = 0; lane < 32; lane++)
    for (int i = 0; i < 4; i++)
      std::memcpy(&static_cast<Matrices*>(brought[lane])->out[i], &m[i][lane / 4][lane % 4 * 2], 4);
}

void load_matrices_transposed(void* const* brought, unsigned) {
  std::uint16_t m[4][8][8];
  read_matrices(brought, m);
  for (int lane = 0; lane < 32; lane++)
    for (int i = 0; i < 4; i++)
      static_cast<Matrices*>(brought[lane])->out[i] =
          m[i][lane % 4 * 2][lane / 4] | static_cast<std::uint32_t>(m[i][lane % 4 * 2 + 1][lane / 4]) << 16;
}

namespace {
// d += a b for a (16, K) and b (K, 8), spread over the lanes as mma.sync.m16n8kK lays them down: a register holds
// PER values side by side in k, and the four lanes of a group hold K/2 of them.
template <int K, int PER, class Read> void multiply(void* const* brought, Read read) {
  float a[16][K], b[K][8];
  for (int lane = 0; lane < 32; lane++) {
    const auto& p = *static_cast<Product*>(brought[lane]);
    for (int half = 0; half < 2; half++)
      for (int i = 0; i < PER; i++) {
        const int k = half * K / 2 + lane % 4 * PER + i;
        a[lane / 4][k] = read((*p.a)[half * 2], i);
        a[lane / 4 + 8][k] = read((*p.a)[half * 2 + 1], i);
        b[k][lane / 4] = read((*p.b)[half], i);
      }
  }
  for (int lane = 0; lane < 32; lane++) {
    auto& d = *static_cast<Product*>(brought[lane])->d;
    for (int i = 0; i < 4; i++)
      for (int k = 0; k < K; k++) d[i] += a[lane / 4 + i / 2 * 8][k] * b[k][lane % 4 * 2 + i % 2];
  }
}
}  // namespace

void multiply_f16(void* const* brought, unsigned) {
  const auto half = [](std::uint32_t r, int i) { return half_to_float(static_cast<std::uint16_t>(r >> 16 * i)); };
  multiply<16, 2>(brought, half);
}

void multiply_tf32(void* const* brought, unsigned) {
  multiply<8, 1>(brought, [](std::uint32_t r, int) {
    float f;
    r &= ~0x1fffu;  // the hardware does not look at the lowest 13 bits
    std::memcpy(&f, &r, 4);
    return f;
  });
}

// --- cp.async: carried out as late as it may be, while the place it goes to is spoilt at once ---

void copy_later(void* to, const void* from, int bytes, bool real) {
  const auto misaligned = [&](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % bytes != 0; };
  if (misaligned(to) || (real && misaligned(from)))
    fail("misaligned: cp.async of %d bytes, thread %d at {%p}", bytes, current, __builtin_return_address(0));
  check(reinterpret_cast<std::uintptr_t>(to), bytes, true, __builtin_return_address(0));
  if (real) check(reinterpret_cast<std::uintptr_t>(from), bytes, false, __builtin_return_address(0));
  std::memset(to, 0xff, bytes);
  threads[current].open.push_back({static_cast<char*>(to), static_cast<const char*>(from), bytes, real});
}

void end_group() {
  Thread& t = threads[current];
  t.groups.push_back(std::move(t.open));
  t.open.clear();
}

void wait_for_groups(int still_open) {
  auto& groups = threads[current].groups;
  for (; static_cast<int>(groups.size()) > still_open; groups.erase(groups.begin()))
    for (const Copy& c : groups.front()) {
      check(reinterpret_cast<std::uintptr_t>(c.to), c.bytes, true, __builtin_return_address(0));
      if (c.real) std::memcpy(c.to, c.from, c.bytes);
      else std::memset(c.to, 0, c.bytes);
    }
}

// --- IEEE half precision, to nearest even ---

namespace {
float slow_half_to_float(std::uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const float size = exponent == 31 ? (mantissa ? NAN : INFINITY)
                     : exponent    ? std::ldexp(1024.f + mantissa, exponent - 25)
                                   : std::ldexp(static_cast<float>(mantissa), -24);
  return h & 0x8000 ? -size : size;
}
const std::vector<float> half_table = [] {
  std::vector<float> table(1 << 16);
  for (int i = 0; i < 1 << 16; i++) table[i] = slow_half_to_float(i);
  return table;
}();
}  // namespace

float half_to_float(std::uint16_t h) { return half_table[h]; }

std::uint16_t float_to_half(float f) {
  std::uint32_t bits;
  std::memcpy(&bits, &f, 4);
  const std::uint16_t sign = bits >> 16 & 0x8000;
  const float size = std::fabs(f);
  if (std::isnan(f)) return sign | 0x7e00;
  if (size >= 65520.f) return sign | 0x7c00;
  if (size < 6.103515625e-5f) return sign | static_cast<std::uint16_t>(std::lrint(std::ldexp(size, 24)));
  const std::uint32_t low = bits & 0x1fff, kept = (bits & 0x7fffffff) >> 13;
  return sign | (kept - (112 << 10) + (low > 0x1000 || (low == 0x1000 && (kept & 1))));
}

// --- a launch ---

namespace {
void begin_block(unsigned index, uint3 grid, int shared_bytes) {
  here.block = {index % grid.x, index / grid.x % grid.y, index / (grid.x * grid.y)};
  block = first_block + index;
  barriers = 0;
  std::fill(std::begin(warp_barriers), std::end(warp_barriers), 0);
  std::memset(dynamic, 0xff, shared_bytes);
  if (__start_emu_shared) std::memset(__start_emu_shared, 0xff, __stop_emu_shared - __start_emu_shared);
  for (int i = 0; i < count; i++) {
    Thread& t = threads[i];
    const uint3 b = here.block_dim;
    t.index = {i % b.x, i / b.x % b.y, i / (b.x * b.y)};
    t.state = READY;
    t.open.clear();
    t.groups.clear();
  }
}

void run_block(const std::vector<int>& order) {
  const auto number = static_cast<unsigned long long>(block - first_block);
  for (;;) {
    bool any_ran = false;
    for (int i : order)
      if (threads[i].state == READY) {
        resume(i);
        any_ran = true;
        if (failed) return;
      }
    if (any_ran) continue;
    int at_barrier = 0, done = 0;
    const Thread* stuck = nullptr;
    for (int i = 0; i < count; i++) {
      at_barrier += threads[i].state == AT_BARRIER;
      done += threads[i].state == DONE;
      if (threads[i].state == AT_WARP) stuck = &threads[i];
    }
    if (done == count) return;
    if (at_barrier == count) {
      barriers++;
      for (int i = 0; i < count; i++) threads[i].state = READY;
      continue;
    }
    failed = true;
    if (stuck)
      snprintf(message, sizeof message,
               "deadlock in block %llu: thread %d waits at {%p} for lanes %#x; %d of %d threads are at a barrier, "
               "%d have ended",
               number, static_cast<int>(stuck - threads), stuck->site, stuck->mask, at_barrier, count, done);
    else
      snprintf(message, sizeof message, "early exit in block %llu: %d of %d threads are at a barrier, %d have ended",
               number, at_barrier, count, done);
    return;
  }
}
}  // namespace
}  // namespace emu

using namespace emu;
#define VISIBLE extern "C" __attribute__((visibility("default")))

struct Memory { void* first; std::size_t bytes; int granule; };

// Runs a kernel; `order` is 0 (forward), 1 (backward) or 2 (shuffled), of threads and of blocks. Null or a finding.
VISIBLE const char* emu_launch(void (*kernel)(void**), void** args, const unsigned* grid, const unsigned* block_dim,
                               int shared_bytes, int order, const Memory* memory, int memories) {
  here.grid_dim = {grid[0], grid[1], grid[2]};
  here.block_dim = {block_dim[0], block_dim[1], block_dim[2]};
  count = block_dim[0] * block_dim[1] * block_dim[2];
  body = kernel;
  body_args = args;
  failed = false;
  dynamic = static_cast<char*>(std::aligned_alloc(128, shared_bytes / 128 * 128 + 128));
  buffers.clear();
  const auto watch = [](const void* first, std::size_t bytes, int granule, bool shared) {
    const auto at = reinterpret_cast<std::uintptr_t>(first);
    buffers.push_back({at, at + bytes, granule, shared});
  };
  watch(dynamic, shared_bytes, 2, true);
  if (__start_emu_shared) watch(__start_emu_shared, __stop_emu_shared - __start_emu_shared, 2, true);
  for (int i = 0; i < memories; i++) watch(memory[i].first, memory[i].bytes, memory[i].granule, false);

  std::vector<int> thread_order(count);
  std::vector<unsigned> block_order(grid[0] * grid[1] * grid[2]);
  std::mt19937 random(1);
  const auto arrange = [&](auto& list) {
    std::iota(list.begin(), list.end(), 0);
    if (order == 1) std::reverse(list.begin(), list.end());
    if (order == 2) std::shuffle(list.begin(), list.end(), random);
  };
  arrange(thread_order);
  arrange(block_order);
  for (unsigned index : block_order) {
    begin_block(index, here.grid_dim, shared_bytes);
    run_block(thread_order);
    if (failed) break;
  }

  first_block += block_order.size();
  if (failed)
    for (Fiber& f : fibers) f.begun = false;  // those that were left in the middle begin afresh
  for (Buffer& b : buffers) std::free(b.cells);
  std::free(dynamic);
  return failed ? message : nullptr;
}

// The 8x8 matrices that ldmatrix has read since the last call, and the cycles that bank conflicts added.
VISIBLE void emu_bank_conflicts(long* out) {
  out[0] = matrix_phases;
  out[1] = extra_cycles;
  matrix_phases = extra_cycles = 0;
}

VISIBLE float emu_half_to_float(int bits) { return half_to_float(static_cast<std::uint16_t>(bits)); }
VISIBLE int emu_float_to_half(float f) { return float_to_half(f); }

// --- callbacks of -fsanitize=thread ---

#define SITE __builtin_return_address(0)
#define ACCESS(bytes)                                                                       \
  extern "C" void __tsan_read##bytes(void* p) { on_access(p, bytes, false, SITE); }         \
  extern "C" void __tsan_write##bytes(void* p) { on_access(p, bytes, true, SITE); }         \
  extern "C" void __tsan_unaligned_read##bytes(void* p) { on_access(p, bytes, false, SITE); } \
  extern "C" void __tsan_unaligned_write##bytes(void* p) { on_access(p, bytes, true, SITE); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
extern "C" {
void __tsan_read_range(void* p, std::size_t n) { on_access(p, static_cast<int>(n), false, SITE); }
void __tsan_write_range(void* p, std::size_t n) { on_access(p, static_cast<int>(n), true, SITE); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
char __tsan_atomic8_load(const volatile char* guard, int) { return *guard; }  // of a static with a constructor
}

// --- callbacks of -fsanitize=bounds,alignment: every description begins with the place in the source ---

struct Place { const char* file; unsigned line, column; };

extern "C" {
void __ubsan_handle_out_of_bounds(Place* at, std::size_t index) {
  fail("out of bounds: index %zd of a fixed array, thread %d at %s:%u", index, current, at->file, at->line);
}
void __ubsan_handle_type_mismatch_v1(Place* at, std::size_t address) {
  fail("misaligned: access to address %#zx, thread %d at %s:%u", address, current, at->file, at->line);
}
}
