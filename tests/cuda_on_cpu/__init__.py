"""Runs the CUDA kernels on a CPU, for tests: the same sources, launched by the same code.

- `emulator.py` builds a kernel file with g++ and launches it, in three orders of its threads and blocks;
- `cuda_on_cpu.h` and `runtime.cpp` are CUDA itself: fibers for threads, barriers, tensor cores, and a checker for
  races, accesses out of bounds and unfinished copies;
- `device.py` is a stand-in for CuPy whose arrays do not mix with NumPy's, as CuPy's do not; `cuda.py` adds streams,
  graphs and memory.

What it cannot show: speed, registers, approximate intrinsics, and faults of memory order that need fences.
"""
