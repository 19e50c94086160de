"""The numbers that the kernels share with the code that launches them.

Each of them is written here and nowhere else: `launch.source` puts them, as macros, in front of every kernel file.
"""

from nanostyle.backend.geometry import PadMode

THREADS = 256  # in a block
WORD = 16  # bytes of the widest load
PAD_MODES: dict[PadMode, int] = {"zero": 0, "reflect": 1, "edge": 2}

# Matrix products: gemm.cuh, conv.cu, wgrad.cu.
TILE_WIDTH = 16  # pixels across a tile of conv.cu
K_BYTES = 64  # bytes of k that are multiplied at a time
K_PITCH = 80  # bytes from one pixel of a window to the next, in shared memory
PACKED_ROWS = 32  # packed weights have a multiple of so many rows

# What a block joins or moves: gram.cu, norm.cu, adam.cu.
SUMS = 32  # numbers of a weight gradient
GRAM_SIDE = 8  # rows and columns of a Gram matrix
CHANNELS = 8  # channels of statistics
ADAM_NUMBERS = 16 * THREADS  # numbers of a parameter


def macros() -> dict[str, int]:
    """All of them, by the names that the kernels use."""
    return {
        "THREADS": THREADS,
        "WORD": WORD,
        **{f"PAD_{mode.upper()}": number for mode, number in PAD_MODES.items()},
        "TILE_WIDTH": TILE_WIDTH,
        "K_BYTES": K_BYTES,
        "K_PITCH": K_PITCH,
        "PACKED_ROWS": PACKED_ROWS,
        "SUMS": SUMS,
        "GRAM_SIDE": GRAM_SIDE,
        "CHANNELS": CHANNELS,
        "ADAM_NUMBERS": ADAM_NUMBERS,
    }
