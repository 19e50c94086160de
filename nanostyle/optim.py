"""Floor 2: Adam for networks, and the scale of their loss; L-BFGS for pixels."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nanostyle.arrays import Array, module_of
from nanostyle.ops.adam import Number, adam_steps
from nanostyle.tensor import Tensor


class Adam:
    """Adam (Kingma 2015, algorithm 1) over named parameters.

    Attributes
    ----------
    lr : float
        The step size; may be changed between steps.
    m, v : dict of Array
        The running means of the gradient and of its square, by the parameter's name.
    t : int
        The number of steps done.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], *, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.parameters = dict(parameters)
        self.lr, self.betas, self.eps, self.t = lr, betas, 1e-8, 0
        self.m = {name: module_of(p.data).zeros_like(p.data) for name, p in self.parameters.items()}
        self.v = {name: module_of(p.data).zeros_like(p.data) for name, p in self.parameters.items()}

    def step(self) -> None:
        """Move every parameter that has a gradient, in place, and forget the gradients."""
        self.t += 1
        self.move(self.lr, self.t)

    def move(self, lr: Number, t: Number, factor: Number = 1.0) -> None:
        """What `step` does, at the rate `lr`, as number `t` and with the gradients times `factor`; nothing is counted.

        On a GPU the three may be arrays without axes; see `ops.adam`.
        """
        moved = {name: p for name, p in self.parameters.items() if p.grad is not None}
        if not moved:
            return
        adam_steps(
            [p.data for p in moved.values()],
            [p.grad for p in moved.values() if p.grad is not None],
            [self.m[name] for name in moved],
            [self.v[name] for name in moved],
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            step=t,
            factor=factor,
        )
        for p in moved.values():
            p.grad = None


FIRST_SCALE = 2.0**16


class LossScale:
    """What the loss is multiplied by, so that gradients that would vanish in float16 do not; it finds its own size.

    Source: Micikevicius 2018, section 3.2.

    Attributes
    ----------
    value : float
        The factor: 1 for good, or from 2^16 on halved after a step whose gradient was not finite, and doubled after
        `growth` good ones.
    good : int
        Good steps since it last changed.
    """

    def __init__(self, *, adapts: bool, growth: int = 2000) -> None:
        self.adapts, self.growth = adapts, growth
        self.value, self.good = FIRST_SCALE if adapts else 1.0, 0

    def update(self, finite: bool) -> None:
        """Take note of a step, whose gradient was finite or not."""
        if not self.adapts:
            return
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.good == self.growth:
            self.value, self.good = self.value * 2, 0


@dataclass(frozen=True)
class Point:
    """A place that the optimiser has reached: `x`, what the objective returned there, evaluations so far."""

    x: Array
    loss: float
    gradient: Array
    note: Any
    evaluations: int


# From x to the loss, its gradient, and whatever the caller wants to find again at the points that are kept.
Objective = Callable[[Array], tuple[float, Array, Any]]


def _dot(a: Array, b: Array) -> float:
    """The inner product. In float32 its error grows with √n at worst, far below what the line search tells apart."""
    return float(a.ravel() @ b.ravel())


def lbfgs(f: Objective, x: Array, *, history: int = 20, first_step: float = 0.02) -> Iterator[Point]:
    """Minimise `f` from `x` by L-BFGS (Nocedal 2006, algorithm 7.5) with a strong Wolfe line search.

    Yields a `Point` after every iteration, beginning with the start itself, and ends when no step along the
    gradient makes `f` smaller. A step to where `f` is infinite or not a number is never taken: the line search
    comes back from there.

    Parameters
    ----------
    f
        From an array to the value, the gradient and a note for the caller, which the points carry.
    x
        The start; it is not changed.
    history
        The number of steps whose curvature is remembered: 2 arrays like `x` each.
    first_step
        The root mean square of the first trial step, in the units of `x`: there is no curvature to go by yet.
    """
    point = Point(x, *f(x), evaluations=1)
    yield point
    pairs: deque[tuple[Array, Array, float]] = deque(maxlen=history)
    while True:
        direction = _two_loops(point.gradient, pairs)
        slope = _dot(direction, point.gradient)
        if not pairs or not slope < 0:
            # Nothing remembered, or it has become useless: steepest descent.
            pairs.clear()
            direction = -point.gradient
            slope = _dot(direction, point.gradient)
            if not slope < 0:
                return
        step = 1.0 if pairs else first_step * (direction.size / -slope) ** 0.5
        found = _wolfe(f, point, direction, slope, step)
        if found is None:
            if not pairs:
                return
            pairs.clear()  # what is remembered misleads: try again along the gradient
            continue
        s, y = found.x - point.x, found.gradient - point.gradient
        curvature = _dot(s, y)
        if curvature > 1e-10 * _dot(y, y):
            pairs.append((s, y, curvature))
        point = found
        yield point


def _two_loops(g: Array, pairs: deque[tuple[Array, Array, float]]) -> Array:
    """`-H·g`, with H the inverse Hessian that the remembered `(s, y, s·y)` imply (Nocedal 2006, algorithm 7.4)."""
    q = -g
    alphas = []
    for s, y, sy in reversed(pairs):
        alpha = _dot(s, q) / sy
        q -= alpha * y
        alphas.append(alpha)
    if pairs:
        _, y, sy = pairs[-1]
        q *= sy / _dot(y, y)
    for (s, y, sy), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - _dot(y, q) / sy) * s
    return q


def _wolfe(
    f: Objective, start: Point, direction: Array, slope: float, step: float, *, c1: float = 1e-4, c2: float = 0.9
) -> Point | None:
    """A point along `direction` where `f` has fallen enough and flattened enough, or None.

    Nocedal 2006, algorithms 3.5 and 3.6, as one loop: [low, high] brackets such a point once `high` is known;
    until then the step grows. After 25 evaluations the best point that is lower than the start will do.
    """
    low, low_loss, low_slope = 0.0, start.loss, slope
    high: float | None = None
    high_loss = high_slope = 0.0
    best: Point | None = None
    for evaluation in range(1, 26):
        x = start.x + step * direction
        loss, gradient, note = f(x)
        here = _dot(gradient, direction)
        finite = np.isfinite(loss) and np.isfinite(here)
        if finite and loss < (start.loss if best is None else best.loss):
            best = Point(x, loss, gradient, note, start.evaluations + evaluation)
        if not finite or loss > start.loss + c1 * step * slope or (low > 0 and loss >= low_loss):
            high, high_loss, high_slope = step, loss, here
        elif abs(here) <= -c2 * slope:
            return Point(x, loss, gradient, note, start.evaluations + evaluation)
        else:
            if here * ((high if high is not None else np.inf) - low) >= 0:
                high, high_loss, high_slope = low, low_loss, low_slope
            low, low_loss, low_slope = step, loss, here
        if high is None:
            step = 4 * step
        else:
            step = _between(low, low_loss, low_slope, high, high_loss, high_slope)
            if abs(high - low) * np.sqrt(_dot(direction, direction) / direction.size) < 1e-9:
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
