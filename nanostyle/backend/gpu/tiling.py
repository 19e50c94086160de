"""The tile that a thread block of a matrix-product kernel computes: candidates, constraints, shared memory."""

from typing import NamedTuple

from nanostyle.backend.gpu.constants import K_BYTES, K_PITCH, TILE_WIDTH, WORD
from nanostyle.backend.gpu.launch import blocks, most_shared

# Blocks that a product aims for: two for each multiprocessor of a large GPU.
_BLOCKS = 264


class Depth(NamedTuple):
    """The terms that conv.cu sums for an output pixel: taps down, taps across, and input channels."""

    rows: tuple[int, int]  # least and most: phases differ
    columns: int
    slices: int  # of channels, K_BYTES each
    phases: bool = False


class Tile(NamedTuple):
    """The tile that a thread block of conv.cu computes: BM pixels by BN channels.

    STAGES slices of TAPS taps each are being loaded at a time.

    Without tensor cores 128 channels would spill registers.
    """

    BM: int
    BN: int
    STRIDE: int
    TAPS: int
    STAGES: int

    @classmethod
    def of(cls, M: int, size: tuple[int, int], count: int, stride: int, depth: Depth, *, tensor_cores: bool) -> "Tile":
        """The largest tile that still gives all of the GPU work, for `count` feature maps of `size`, M channels."""
        # One row of many taps, as few-channel layers have, is few slices: large ones, or a block waits more than it
        # works.
        one_row = depth.rows == (1, 1) and depth.columns > 3 and M <= 32 and not depth.phases
        for BM, BN in ((512, 32), (256, 32), (128, 32)) if one_row else ((256, 128), (128, 128), (128, 64), (128, 32)):
            number = blocks(size[0], BM // TILE_WIDTH) * blocks(size[1], TILE_WIDTH) * blocks(M, BN) * count
            enough = tensor_cores and number >= (_BLOCKS // 2 - 4 if BM * BN > 1 << 14 else _BLOCKS * 3 // 4)
            large = BM > 128 or BN == 128
            if M <= BN // 2 >= 32 or (large and not enough) or (BM > 128 and stride > 1):
                continue
            # Two large ones of one row are to share a multiprocessor. Two taps are what upsampling leaves of three.
            few = 2 if depth.columns == 2 and stride == 1 and BN < 128 else 3
            taps, stages, share = (9, (2,), 2) if one_row and large else (few, (3, 2), 1)
            for stage in stages:
                tile = cls(BM, BN, stride, taps, stage)
                if tile.shared(depth) * share <= most_shared():
                    return tile
        raise ValueError(f"a convolution by {depth} does not fit into {most_shared()} bytes of shared memory")

    def held(self, depth: Depth) -> tuple[int, int]:
        """The number of windows and the number of slices of weights in shared memory."""
        apart = blocks(depth.columns, self.TAPS) * depth.slices  # windows, if each serves all rows
        slices = apart * depth.rows[1]
        if self.STRIDE > 1:
            apart = slices
        kept = self.STRIDE == 1 and depth.rows[0] >= 2
        return min(2 if kept else self.STAGES, apart), min(self.STAGES, slices)

    def shared(self, depth: Depth) -> int:
        """Bytes of shared memory: windows, slices of weights, and where rows begin."""
        height, rows = self.BM // TILE_WIDTH, depth.rows[1]
        row = self.STRIDE * (TILE_WIDTH + (self.TAPS - 1) // self.STRIDE) * K_PITCH
        windows, slices = self.held(depth)
        window = (height + (rows - 1 if self.STRIDE == 1 else 0)) * row
        return windows * window + slices * self.TAPS * self.BN * K_BYTES + ((height - 1) * self.STRIDE + rows) * 4


class PixelTile(NamedTuple):
    """The tile that a thread block of wgrad.cu computes: BM weights by BN channels, summed over pixels.

    STAGES slices of pixels are in shared memory, their rows A_PITCH and B_PITCH bytes apart. The padding between rows
    keeps the rows that are read at once (eight of one word, or four of eight numbers) in different banks. Short rows
    need no padding.
    """

    BM: int
    BN: int
    STAGES: int
    A_PITCH: int
    B_PITCH: int

    @classmethod
    def of(cls, M: int, itemsize: int) -> "PixelTile":
        """The tile for M channels of numbers of `itemsize` bytes."""
        BM, BN = (64, 64) if 32 < M <= 64 else (128, next(n for n in (8, 32, 128) if n >= min(M, 128)))
        rows = (BM * itemsize, BN * itemsize)
        apart = WORD if itemsize == 2 else 2 * WORD
        return cls(BM, BN, 3 if BM + BN > 128 else 6, *(n if n < 64 else n + apart for n in rows))

    def split(self, itemsize: int, tiles: tuple[int, int], N: int, P: int, *, symmetric: bool) -> int:
        """The pixels that one block sums, of the P in each of N feature maps. `symmetric` omits half of the `tiles`.

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
