"""Which tile a matrix-product kernel works on, and its launch."""

from typing import NamedTuple

from nanostyle.backend.gpu.constants import K_BYTES, K_PITCH, TILE_WIDTH, WORD
from nanostyle.backend.gpu.launch import blocks, most_shared

# Blocks that a product aims for: two for each multiprocessor of a large GPU.
_BLOCKS = 264


class Kernel(NamedTuple):
    """What conv.cu works through for an output pixel: taps down (phases differ: least, most), across, channels."""

    rows: tuple[int, int]
    columns: int
    chunks: int  # of 64 bytes
    phases: bool = False


class Tile(NamedTuple):
    """What a block of conv.cu makes, BM pixels of BN channels, and how many pieces it has under way, of TAPS each.

    Without tensor cores 128 channels would spill registers.
    """

    BM: int
    BN: int
    STRIDE: int
    TAPS: int
    STAGES: int

    @classmethod
    def of(
        cls, M: int, size: tuple[int, int], count: int, stride: int, kernel: Kernel, *, tensor_cores: bool
    ) -> "Tile":
        """For `count` pictures of `size` with M channels: the largest of which there are enough for all of the GPU."""
        # One row of many taps, as thin layers have, is few pieces: large ones, or a block waits more than it works.
        thin = kernel.rows == (1, 1) and kernel.columns > 3 and M <= 32 and not kernel.phases
        for BM, BN in ((512, 32), (256, 32), (128, 32)) if thin else ((256, 128), (128, 128), (128, 64), (128, 32)):
            number = blocks(size[0], BM // TILE_WIDTH) * blocks(size[1], TILE_WIDTH) * blocks(M, BN) * count
            enough = tensor_cores and number >= (_BLOCKS // 2 - 4 if BM * BN > 1 << 14 else _BLOCKS * 3 // 4)
            large = BM > 128 or BN == 128
            if M <= BN // 2 >= 32 or (large and not enough) or (BM > 128 and stride > 1):
                continue
            # Of the large thin ones two are to share a multiprocessor. Two taps are what upsampling leaves of three.
            few = 2 if kernel.columns == 2 and stride == 1 and BN < 128 else 3
            taps, stages, share = (9, (2,), 2) if thin and large else (few, (3, 2), 1)
            for stage in stages:
                tile = cls(BM, BN, stride, taps, stage)
                if tile.shared(kernel) * share <= most_shared():
                    return tile
        raise ValueError(f"a convolution by {kernel} does not fit into {most_shared()} bytes of shared memory")

    def held(self, kernel: Kernel) -> tuple[int, int]:
        """How many windows, and how many pieces of weights, hold the pieces under way."""
        apart = blocks(kernel.columns, self.TAPS) * kernel.chunks  # windows, if each serves all rows
        pieces = apart * kernel.rows[1]
        if self.STRIDE > 1:
            apart = pieces
        kept = self.STRIDE == 1 and kernel.rows[0] >= 2
        return min(2 if kept else self.STAGES, apart), min(self.STAGES, pieces)

    def shared(self, kernel: Kernel) -> int:
        """Bytes of shared memory: of windows, of the weights of each piece, and of where rows begin."""
        height, rows = self.BM // TILE_WIDTH, kernel.rows[1]
        row = self.STRIDE * (TILE_WIDTH + (self.TAPS - 1) // self.STRIDE) * K_PITCH
        windows, pieces = self.held(kernel)
        window = (height + (rows - 1 if self.STRIDE == 1 else 0)) * row
        return windows * window + pieces * self.TAPS * self.BN * K_BYTES + ((height - 1) * self.STRIDE + rows) * 4


class PixelTile(NamedTuple):
    """What a block of wgrad.cu makes: BM numbers of the kernel by BN channels, summed over pixels.

    STAGES slices of pixels are in shared memory. Their rows are A_PITCH and B_PITCH bytes apart: what lies between is
    there so that eight rows of a word, or four of eight numbers, which are read at once, meet in no bank. Short rows do
    so anyway.
    """

    BM: int
    BN: int
    STAGES: int
    A_PITCH: int
    B_PITCH: int

    @classmethod
    def of(cls, M: int, itemsize: int) -> "PixelTile":
        """For M channels of numbers of `itemsize` bytes."""
        BM, BN = (64, 64) if 32 < M <= 64 else (128, next(n for n in (8, 32, 128) if n >= min(M, 128)))
        rows = (BM * itemsize, BN * itemsize)
        apart = WORD if itemsize == 2 else 2 * WORD
        return cls(BM, BN, 3 if BM + BN > 128 else 6, *(n if n < 64 else n + apart for n in rows))

    def split(self, itemsize: int, tiles: tuple[int, int], N: int, P: int, *, symmetric: bool) -> int:
        """Pixels that one block adds up, of P in each of N pictures; with `symmetric` half of the `tiles` are left out.

        As many blocks as the GPU takes at once: one more, and it begins anew for it.
        """
        down, across = tiles
        at_a_time = K_BYTES // itemsize  # pixels that are multiplied
        working = N * (down * (down + 1) // 2 if symmetric and self.BM == self.BN else down * across)
        count = max(1, min(_BLOCKS // working, P // (8 * at_a_time)))
        return at_a_time * blocks(P, count * at_a_time)

    def shared(self, itemsize: int) -> int:
        """Bytes of shared memory, besides the tables of rows and columns."""
        return self.STAGES * (K_BYTES // itemsize) * (self.A_PITCH + self.B_PITCH)
