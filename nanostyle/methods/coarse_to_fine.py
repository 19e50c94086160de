"""Coarse to fine: the sizes that Gatys' method works at, and when it has done enough at one of them.

Large forms are made fast at a coarse size, where a picture has few pixels; the finer sizes add the strokes (Gatys 2017,
section 6).
"""

COARSEST = 256
"""The long side, in pixels, from which on a picture is worked on at half its size first."""

WITHIN = 10
"""The iterations over which a gain is measured."""


def pyramid(size: tuple[int, int], wanted: bool | None, least: int = 1) -> list[tuple[int, int]]:
    """The sizes to work at, coarse to fine: halves of `size` until the long side is at most 256.

    `wanted` None halves once at least from 256 pixels on; True halves at least once; False not at all. No side becomes
    less than `least`.

    >>> pyramid((400, 600), None), pyramid((150, 200), None)
    ([(100, 150), (200, 300), (400, 600)], [(150, 200)])
    """
    sizes = [size]
    at_least_once = wanted if wanted is not None else max(size) >= COARSEST
    while at_least_once and (len(sizes) == 1 or max(sizes[0]) > COARSEST):
        height, width = (round(n / 2) for n in sizes[0])
        if min(height, width) < least:
            break
        sizes.insert(0, (height, width))
    return sizes


def counts(iterations: int, sizes: int) -> list[int]:
    """The most iterations at each of so many `sizes`: all at the coarsest, a quarter as many at each finer one.

    An iteration at twice the size takes four times as long, so each size takes about the same time.

    >>> counts(80, 3), counts(1, 2), counts(0, 2)
    ([80, 20, 20], [1, 1], [0, 0])
    """
    finer = max(1, iterations // 4) if iterations else 0
    return [iterations, *[finer] * (sizes - 1)]


class Plateau:
    """Says when an optimization gains too little to go on.

    Parameters
    ----------
    least_gain
        The share of the loss that 10 iterations have to gain; 0: they may gain nothing.

    Examples
    --------
    >>> plateau = Plateau(0.02)
    >>> [plateau.reached(loss) for loss in [9.0, 4.0] + [2.0] * 10].index(True)
    11
    """

    def __init__(self, least_gain: float) -> None:
        self._least_gain = least_gain
        self._best: list[float] = []

    def reached(self, loss: float) -> bool:
        """Whether the last iterations, the one that has led to `loss` among them, have gained too little."""
        best = self._best
        best.append(min([loss, *best[-1:]]))
        return self._least_gain > 0 and len(best) > WITHIN and best[-1] >= (1 - self._least_gain) * best[-1 - WITHIN]
