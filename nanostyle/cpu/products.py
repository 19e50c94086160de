"""How matrix products are cut so that BLAS is at its best, and so that threads share them."""

# OpenBLAS multiplies matrices without packing them first where rows x columns x depth is at most this; packing
# costs up to a third of the time. On another BLAS the number only makes the products smaller.
UNPACKED = 1_000_000


def parts(length: int, count: int) -> list[tuple[int, int]]:
    """Begin and end of `count` consecutive parts of `length`, as equal as can be."""
    return [(length * i // count, length * (i + 1) // count) for i in range(count)]


def runs(length: int, limit: int) -> list[tuple[int, int, int]]:
    """`(begin, count, each)`: `length` rows as `count` equal pieces of at most `limit` rows, and a rest.

    Equal pieces are one strided call.
    """
    each = -(-length // -(-length // max(1, limit)))
    count = length // each
    rest = length - count * each
    return [(0, count, each)] + ([(count * each, 1, rest)] if rest else [])
