"""L-BFGS (Nocedal 2006), for the pixels of a picture."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.backend.device import module_of, to_host
from nanostyle.backend.types import Array


@dataclass(frozen=True)
class Point:
    """A point that the optimizer has reached.

    Attributes
    ----------
    x, gradient : Array
        The point, and the gradient of the loss there, of one shape.
    values : NumPy array
        The values of the objective there; the last is the loss.
    evaluations : int
        Evaluations of the objective so far.
    step, products
        For the optimizer alone: the step along the direction, and the inner products of `_Memory.evaluate`.
    """

    x: Array
    gradient: Array
    values: npt.NDArray[Any]
    evaluations: int = 1
    step: float = field(default=0.0, repr=False)
    products: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)), repr=False)

    @property
    def loss(self) -> float:
        """The last of the values."""
        return float(self.values[-1])


Objective = Callable[[Array], tuple[Array, Array]]
"""From x to an array of values, of which the last is the loss, and the gradient of the loss."""


def lbfgs(f: Objective, x: Array, *, history: int = 20, first_step: float = 0.02) -> Iterator[Point]:
    """Minimize `f` from `x` by L-BFGS (Nocedal 2006, algorithm 7.5) with a strong Wolfe line search.

    Yields the start and then a `Point` after every iteration. Ends when no step along the gradient makes `f` smaller.
    The line search never takes a step to where `f` is infinite or NaN. Each evaluation of `f` but the first costs one
    download from a GPU.

    Parameters
    ----------
    f
        The objective: from an array like `x` to an array of values, of which the last is the loss, and the gradient of
        the loss. It may not change them afterwards.
    x
        The start; it is not changed.
    history
        The number of steps whose curvature is remembered. Each takes two arrays like `x`.
    first_step
        The root mean square of the first trial step, in the units of `x`.

    Examples
    --------
    >>> def bowl(x):
    ...     return np.array([x @ x]), 2 * x
    >>> [round(point.loss, 6) for point in lbfgs(bowl, np.array([3.0, 4.0]), first_step=1.0)][-1]
    0.0
    """
    values, gradient = f(x)
    point = Point(x, gradient, to_host(values))
    yield point
    memory = _Memory(gradient, history)
    while True:
        slope = memory.aim()
        if memory.pairs and not slope < 0:
            memory.forget()  # the pairs are of no use any more: steepest descent
            slope = memory.aim()
        if not slope < 0:
            return
        step = 1.0 if memory.pairs else first_step * (x.size / -slope) ** 0.5
        found = _wolfe(partial(memory.evaluate, f, point), point, slope, step)
        if found is not None:
            memory.accept(found)
            point = found
            yield point
        elif memory.pairs:
            memory.forget()  # the pairs mislead: try again along the gradient
        else:
            return


# The first rows of the memory: three for an evaluation to work with, and the gradient at the last point.
_DIRECTION, _CHANGE, _NEW, _GRADIENT, _PAIRS = range(5)


class _Memory:
    """The last steps `s`, each with the change `y` of the gradient over it.

    All vectors are rows of one array, and the host has their inner products. So the recursion over the pairs works on
    coefficients, on the host, and the direction is one product with a matrix (Chen 2014, "Large-scale L-BFGS using
    MapReduce", section 3). The textbook goes over all vectors twice, and waits for a number at each.
    """

    def __init__(self, gradient: Array, history: int) -> None:
        self.pairs: list[int] = []  # the rows of s, the oldest first; each y follows its s
        self._history, self._shape = history, gradient.shape
        xp = module_of(gradient)
        self._rows = xp.empty((_PAIRS + 2 * history, gradient.size), gradient.dtype)
        self._products = np.zeros((len(self._rows), len(self._rows)))
        self._rows[_GRADIENT] = g = gradient.ravel()
        self._products[_GRADIENT, _GRADIENT] = float(g @ g)

    def forget(self) -> None:
        """Drop all pairs."""
        self.pairs.clear()

    @property
    def _used(self) -> int:
        return _PAIRS + 2 * len(self.pairs)

    def aim(self) -> float:
        """Set the direction to `-H·g`, H the inverse Hessian that the pairs imply; returns the slope along it.

        Source: Nocedal 2006, algorithm 7.4, on the coefficients of the rows.
        """
        dot, c = self._products[: self._used, : self._used], np.zeros(self._used)
        c[_GRADIENT] = -1
        alphas = []
        for s in reversed(self.pairs):
            alphas.append(alpha := c @ dot[s] / dot[s, s + 1])
            c[s + 1] -= alpha
        if self.pairs:
            s = self.pairs[-1]
            c *= dot[s, s + 1] / dot[s + 1, s + 1]
        for s, alpha in zip(self.pairs, reversed(alphas), strict=True):
            c[s] += alpha - c @ dot[s + 1] / dot[s, s + 1]
        rows, old = self._rows, slice(_GRADIENT, self._used)
        rows[_DIRECTION] = module_of(rows).asarray(c[old], rows.dtype) @ rows[old]
        return float(c @ dot[_GRADIENT])

    def evaluate(self, f: Objective, start: Point, step: float) -> Point:
        """The point `step` times the direction from `start`."""
        rows, xp = self._rows[: self._used], module_of(self._rows)
        x = start.x + (step * rows[_DIRECTION]).reshape(self._shape)
        values, gradient = f(x)
        self._take(gradient)
        products = rows @ rows[:_GRADIENT].T
        numbers = to_host(xp.concatenate([values, products.ravel()]))
        count = len(values)
        table = numbers[count:].astype(np.float64).reshape(products.shape)
        return Point(x, gradient, numbers[:count], step=step, products=table)

    def accept(self, point: Point) -> None:
        """Go on from `point`, which `evaluate` found, and remember how the gradient changed on the way there."""
        self._take(point.gradient)  # others may have been looked at since
        self._products[: self._used, :_GRADIENT] = point.products
        self._products[:_GRADIENT, : self._used] = point.products.T
        curvature = point.step * point.products[_DIRECTION, _CHANGE]
        if curvature > 1e-10 * point.products[_CHANGE, _CHANGE]:
            place = self.pairs.pop(0) if len(self.pairs) == self._history else self._used
            self.pairs.append(place)
            self._copy(place, _DIRECTION, point.step)
            self._copy(place + 1, _CHANGE)
        self._copy(_GRADIENT, _NEW)

    def _take(self, gradient: Array) -> None:
        rows = self._rows
        rows[_NEW] = gradient.ravel()
        module_of(rows).subtract(rows[_NEW], rows[_GRADIENT], out=rows[_CHANGE])

    def _copy(self, to: int, row: int, factor: float = 1.0) -> None:
        """Make the row `to` a multiple of another, here and among the products."""
        module_of(self._rows).multiply(self._rows[row], factor, out=self._rows[to])
        self._products[to] = factor * self._products[row]
        self._products[:, to] = factor * self._products[:, row]
        self._products[to, to] = factor**2 * self._products[row, row]


def _wolfe(
    evaluate: Callable[[float], Point], start: Point, slope: float, step: float, *, c1: float = 1e-4, c2: float = 0.9
) -> Point | None:
    """A point along the direction where `f` has fallen enough and flattened enough, or None.

    Nocedal 2006, algorithms 3.5 and 3.6, as one loop: [low, high] brackets such a point once `high` is known;
    until then the step grows. After 25 evaluations the best point that is lower than the start will do.
    """
    low, low_loss, low_slope = 0.0, start.loss, slope
    high: float | None = None
    high_loss = high_slope = 0.0
    best: Point | None = None
    for evaluation in range(1, 26):
        found = replace(evaluate(step), evaluations=start.evaluations + evaluation)
        loss, here = found.loss, float(found.products[_DIRECTION, _NEW])
        finite = np.isfinite(loss) and np.isfinite(here)
        if finite and loss < (start.loss if best is None else best.loss):
            best = found
        if not finite or loss > start.loss + c1 * step * slope or (low > 0 and loss >= low_loss):
            high, high_loss, high_slope = step, loss, here
        elif abs(here) <= -c2 * slope:
            return found
        else:
            if here * ((high if high is not None else np.inf) - low) >= 0:
                high, high_loss, high_slope = low, low_loss, low_slope
            low, low_loss, low_slope = step, loss, here
        if high is None:
            step = 4 * step
        else:
            step = _between(low, low_loss, low_slope, high, high_loss, high_slope)
            if abs(high - low) * np.sqrt(found.products[_DIRECTION, _DIRECTION] / found.x.size) < 1e-9:
                break
    return best and replace(best, evaluations=start.evaluations + evaluation)


def _between(a: float, fa: float, da: float, b: float, fb: float, db: float) -> float:
    """Where the cubic through two points and slopes is lowest, kept off the ends (Nocedal 2006, equation 3.59)."""
    if not (np.isfinite(fb) and np.isfinite(db)):
        return a + 0.1 * (b - a)
    d1 = da + db - 3 * (fa - fb) / (a - b)
    square = d1 * d1 - da * db
    middle = (a + b) / 2
    if square < 0:
        return middle
    d2 = np.copysign(np.sqrt(square), b - a)
    if db - da + 2 * d2 == 0:
        return middle
    t = b - (b - a) * (db + d2 - d1) / (db - da + 2 * d2)
    edge = 0.1 * abs(b - a)
    return float(min(max(t, min(a, b) + edge), max(a, b) - edge))
