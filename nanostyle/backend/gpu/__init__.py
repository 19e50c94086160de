"""Twins of the primitives in `nanostyle.ops` that launch the CUDA kernels of `kernels/`."""
