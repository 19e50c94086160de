"""The GPU: implementations of primitives that launch the CUDA kernels of `kernels/`."""
