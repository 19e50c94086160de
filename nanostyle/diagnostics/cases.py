"""Every op and every loss with the inputs to try it on. `nanostyle gradcheck` walks this table, and the tests.

An op that has no row here makes a test fail.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nanostyle.autograd import ops
from nanostyle.autograd.gradcheck import Check, gradcheck
from nanostyle.autograd.tensor import Tensor
from nanostyle.nn import losses

Inputs = list[npt.NDArray[Any]]


class Size(NamedTuple):
    """The letters of the project: pictures, pixels, channels in and out, styles."""

    N: int = 2
    H: int = 6
    W: int = 5
    C: int = 3
    M: int = 4
    S: int = 3


def normal(*shapes: str) -> Callable[[Size, np.random.Generator], Inputs]:
    """Random arrays; a shape is written in letters and digits, one per axis: `NHWC`, `33CM`."""

    def draw(size: Size, rng: np.random.Generator) -> Inputs:
        return [rng.standard_normal(_shape(letters, size)) for letters in shapes]

    return draw


def apart(*shapes: str) -> Callable[[Size, np.random.Generator], Inputs]:
    """Arrays without two values that are nearly equal, and none near 0: for ops with a kink there."""

    def draw(size: Size, rng: np.random.Generator) -> Inputs:
        out = []
        for letters in shapes:
            shape = _shape(letters, size)
            n = int(np.prod(shape))
            out.append(((rng.permutation(n) - n // 2 + 0.5) * 0.05).reshape(shape))
        return out

    return draw


def positive(*shapes: str) -> Callable[[Size, np.random.Generator], Inputs]:
    """Random arrays of values from 0.5 to 2.5."""

    def draw(size: Size, rng: np.random.Generator) -> Inputs:
        return [rng.uniform(0.5, 2.5, _shape(letters, size)) for letters in shapes]

    return draw


def _shape(letters: str, size: Size) -> tuple[int, ...]:
    return tuple(int(c) if c.isdigit() else getattr(size, c) for c in letters)


@dataclass(frozen=True)
class Case:
    """One row: an op, its options, and how to draw its inputs.

    Attributes
    ----------
    name : str
        The op's name in `nanostyle.ops` or `nanostyle.losses`.
    inputs
        From a `Size` and a generator to the positional arguments.
    options
        The keyword arguments, or a function from the `Size` to them.
    least : int
        The smallest side of a picture that the op takes.
    frozen : tuple of int
        Positions of arguments that are no tensors but plain arrays.
    """

    name: str
    inputs: Callable[[Size, np.random.Generator], Inputs]
    options: Mapping[str, Any] | Callable[[Size], Mapping[str, Any]] = field(default_factory=dict)
    least: int = 1
    frozen: tuple[int, ...] = ()

    def options_at(self, size: Size) -> dict[str, Any]:
        """The keyword arguments for inputs of this size."""
        return dict(self.options(size) if callable(self.options) else self.options)

    def function(self, size: Size) -> Callable[..., Tensor]:
        """The op with its options, as a function of the positional arguments, with by-products dropped."""
        op = getattr(ops, self.name, None) or getattr(losses, self.name)
        options = self.options_at(size)

        def call(*args: Tensor) -> Tensor:
            plain = [a.data if i in self.frozen else a for i, a in enumerate(args)]
            y = op(*plain, **options)
            result: Tensor = y[0] if isinstance(y, tuple) else y
            return result

        return call

    def check(self, size: Size, seed: int = 0) -> Check:
        """The gradient against finite differences, in float64."""
        size = size._replace(H=max(size.H, self.least), W=max(size.W, self.least))
        inputs = self.inputs(size, np.random.default_rng(seed))
        return gradcheck(self.function(size), inputs, frozen=self.frozen, seed=seed)

    def __str__(self) -> str:
        """The op and its options, as in a call."""
        options = self.options_at(Size())
        return f"{self.name}({', '.join(f'{k}={_short(v)}' for k, v in options.items())})"


def _short(value: Any) -> str:
    return f"array{value.shape}" if isinstance(value, np.ndarray) else str(value)


def _one_style_each(size: Size) -> dict[str, Any]:
    return {"style": np.arange(size.N) % size.S}


def _mixed_styles(size: Size) -> dict[str, Any]:
    mix = np.arange(1.0, 1 + size.N * size.S).reshape(size.N, size.S)
    return {"style": mix / mix.sum(axis=1, keepdims=True)}


def _weights(size: Size) -> dict[str, Any]:
    return {"weight": np.linspace(0.5, 2, size.N)}


def _target(size: Size) -> dict[str, Any]:
    shape = _shape("NHWC", size)
    return {"target": np.cos(np.arange(float(np.prod(shape)))).reshape(shape)}


def _window(size: Size) -> dict[str, Any]:
    top, left = size.H // 3, size.W // 4
    return {"top": top, "left": left, "height": size.H - top, "width": max(1, size.W // 2 - left)}


CASES = [
    Case("add", normal("NHWC", "WC")),
    Case("sub", normal("NHWC", "N1WC")),
    Case("mul", normal("NHWC", "C")),
    Case("div", positive("NHWC", "HWC")),
    Case("neg", normal("NHWC")),
    Case("matmul", normal("NHW", "WC")),
    Case("matmul", normal("HW", "NWC")),
    Case("relu", apart("NHWC")),
    Case("tanh", normal("NHWC")),
    Case("sigmoid", normal("NHWC")),
    Case("sqrt", positive("NHWC")),
    Case("cast", normal("NHWC"), {"dtype": "float64"}),
    Case("sum", normal("NHWC")),
    Case("sum", normal("NHWC"), {"axis": (1, 2)}),
    Case("mean", normal("NHWC")),
    Case("mean", normal("NHWC"), {"axis": (1, 2), "keepdims": True}),
    Case("squared_distance", normal("NHWC", "NHWC"), _weights),
    Case("relative_distance", normal("NHWC"), _target),
    Case("relative_distance", normal("NHWC"), lambda s: {**_target(s), **_weights(s)}),
    Case("reshape", normal("NHWC"), lambda s: {"shape": (s.N, s.H * s.W, s.C)}),
    Case("concat", normal("NC", "NM", "NC")),
    Case("concat", normal("NHWC", "SHWC"), {"axis": 0}),
    Case("narrow", normal("NC"), lambda s: {"start": s.C // 3, "length": s.C - s.C // 2}),
    Case("crop", normal("NHWC"), _window),
    Case("pad", normal("NHWC"), {"pad": 2, "mode": "zero"}),
    Case("pad", normal("NHWC"), {"pad": (0, 3, 1, 2), "mode": "reflect"}),
    Case("pad", normal("NHWC"), {"pad": (2, 1, 0, 3), "mode": "edge"}),
    Case("upsample", normal("NHWC"), {"factor": 2}),
    Case("upsample", normal("NHWC"), {"factor": 3}),
    Case("conv2d", normal("NHWC", "33CM", "M"), least=3),
    Case("conv2d", normal("NHWC", "33CM", "M"), {"pad": 1}),
    Case("conv2d", normal("NHWC", "33CM", "M"), {"pad": 1, "mode": "reflect", "relu": True}),
    Case("conv2d", normal("NHWC", "33CM"), {"pad": 1, "mode": "edge", "statistics": True}),
    Case("conv2d", normal("NHWC", "33CM"), {"pad": 1, "mode": "reflect", "upsample": 2}),
    Case("conv2d", normal("NHWC", "33CM", "M"), {"pad": 1, "mode": "reflect", "stride": 2}),
    Case("conv2d", normal("NHWC", "99CM", "M"), {"pad": 4, "mode": "reflect"}),
    Case("conv2d", normal("NHWC", "11CM", "M"), {"stride": 2, "relu": True}),
    Case("conv2d", normal("NHWC", "24CM", "M"), {"stride": 3, "pad": 2, "upsample": 3}),
    Case("conv_transpose2d", normal("NHWC", "33CM", "M"), {"stride": 2, "pad": 1, "output_pad": 1}),
    Case("conv_transpose2d", normal("NHWC", "33CM"), {"stride": 1, "pad": 0}),
    Case("conv_transpose2d", normal("NHWC", "42CM", "M"), {"stride": 3, "pad": 0, "output_pad": 2}),
    Case("depthwise_conv2d", normal("NHWC", "33C", "C"), least=3),
    Case("depthwise_conv2d", normal("NHWC", "23C"), {"stride": 2}, least=3),
    Case("max_pool", apart("NHWC"), least=2),
    Case("max_pool", apart("NHWC"), {"size": 3, "stride": 2}, least=3),
    Case("avg_pool", normal("NHWC"), least=2),
    Case("avg_pool", normal("NHWC"), {"size": 2, "stride": 1}, least=2),
    # One pixel has no variance, and the derivative there is one of rounding errors: sides of 2 and more.
    Case("batch_norm", normal("NHWC", "C", "C"), {"relu": True}, least=2),
    Case("batch_norm", normal("NHWC", "C", "C"), lambda s: {"running": (np.full(s.C, 0.3), np.full(s.C, 2.0))}),
    Case("instance_norm", normal("NHWC", "C", "C"), least=2),
    Case("cin", normal("NHWC", "SC", "SC"), _one_style_each, least=2),
    Case("cin", normal("NHWC", "SC", "SC", "NHWC"), lambda s: {**_one_style_each(s), "relu": True}, least=2),
    Case("cin", normal("NHWC", "SC", "SC"), _mixed_styles, least=2),
    Case("cin", normal("NHWC", "NC", "NC", "NHWC"), least=2),
    Case("statistics", normal("NHWC"), least=2),
    Case("gram", normal("NHWC")),
    Case("total_variation", normal("NHWC")),
    Case("content_loss", normal("NHWC", "NHWC"), {"scale": "relative"}, frozen=(1,)),
    Case("content_loss", normal("NHWC", "NHWC"), {"scale": "paper"}, frozen=(1,)),
    Case("style_loss", normal("NCC", "NCC"), lambda s: {"scale": "relative", **_weights(s)}, frozen=(1,)),
    Case("style_loss", normal("NCC", "NCC"), {"scale": "paper"}, frozen=(1,)),
    Case("grid_loss", normal("NHWC"), least=4),
    Case("palette", normal("NHW3"), least=8),
    Case("palette_loss", normal("N43", "N43"), _weights, frozen=(1,)),
    Case("palette_loss", normal("N43", "N43"), frozen=(1,)),
    Case("grid_loss", normal("NHWC"), {"period": 2}, least=2),
]


class Row(NamedTuple):
    """One line of the table that `nanostyle gradcheck` prints: the worst of several sizes."""

    name: str
    checks: int
    error: float


def check_all(seed: int = 0) -> Iterator[Row]:
    """Check the gradients of every row at several sizes; yields a line for each, with its worst relative error."""
    sizes = [Size(), Size(N=1, H=7, W=4, C=1, M=2, S=1), Size(N=3, H=3, W=9, C=5, M=1, S=2)]
    for case in CASES:
        errors = [case.check(size, seed + i).error for i, size in enumerate(sizes)]
        yield Row(str(case), len(errors), max(errors))
