"""Floor 2: layers with parameters. Plain classes: the constructor makes the parameters, the call applies the op.

A layer is a row of the papers' tables: convolution, normalisation and activation together, so that a norm can
take its statistics from the convolution's epilogue. Parameters are `Tensor` attributes, running averages are
array attributes; `parameters` and `buffers` find them by walking attributes and lists, and what they call them
(`residual1/conv1/weight`) is what the model file calls them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from nanostyle import ops
from nanostyle.arrays import Array, to_device
from nanostyle.errors import NanostyleError
from nanostyle.tensor import Tensor

Rows = tuple[Any, Any]
"""Gamma and beta `(N, C)` (or `(1, C)`), given at call time: tensors or arrays."""

DEVIATION = 0.01
"""Weights start as N(0, 0.01) (Dumoulin 2017, table 1): a norm follows nearly everywhere, so the scale only sets
how fast Adam turns the kernels; and in Johnson's last layer, which has none, the tanh starts unsaturated."""


def _parameter(values: Array) -> Tensor:
    return Tensor(values.astype(np.float32, copy=False), requires_grad=True)


def _kernel(rng: np.random.Generator, *shape: int) -> Tensor:
    return _parameter(rng.standard_normal(shape, np.float32) * np.float32(DEVIATION))


# --- normalisation ----------------------------------------------------------------------------------------
#
# All are called in one way: x (N, H, W, C), what is added before the ReLU, and what they may need to know.


class InstanceNorm:
    """`gamma·(x - μ)/σ + beta` with each picture's own μ and σ; `gamma`, `beta` `(C,)` (Ulyanov 2016)."""

    takes_moments = True

    def __init__(self, C: int) -> None:
        self.gamma = _parameter(np.ones(C))
        self.beta = _parameter(np.zeros(C))

    def __call__(
        self, x: Any, residual: Any = None, *, relu: bool, moments: Any = None, style: Any = None, training: bool
    ) -> Tensor:
        """Normalise `x`; `style` and `training` make no difference."""
        return ops.instance_norm(x, self.gamma, self.beta, residual, relu=relu, moments=moments)


class PredictedNorm:
    """Instance norm without parameters of its own: gamma and beta come with every call (Ghiasi 2017)."""

    takes_moments = True

    def __init__(self, C: int) -> None:
        self.channels = C

    def __call__(
        self, x: Any, residual: Any = None, *, relu: bool, moments: Any = None, style: Rows, training: bool
    ) -> Tensor:
        """Normalise `x` with `style` = gamma, beta, one row per picture or one for all."""
        gamma, beta = style
        return ops.cin(x, gamma, beta, residual, relu=relu, moments=moments)


class ConditionalInstanceNorm:
    """Instance norm with a row of gamma and beta `(S, C)` for each of S styles (Dumoulin 2017, equation 5)."""

    takes_moments = True

    def __init__(self, C: int, styles: int) -> None:
        self.channels = C
        self.gamma = _parameter(np.ones((styles, C)))
        self.beta = _parameter(np.zeros((styles, C)))

    def __call__(
        self, x: Any, residual: Any = None, *, relu: bool, moments: Any = None, style: Any, training: bool
    ) -> Tensor:
        """Normalise `x`; `style` is `(N,)` whole numbers, a mix `(N, S)`, or rows as for `PredictedNorm`."""
        gamma, beta, style = (*style, None) if isinstance(style, tuple) else (self.gamma, self.beta, style)
        return ops.cin(x, gamma, beta, residual, style=style, relu=relu, moments=moments)


class BatchNorm:
    """`gamma·(x - μ)/σ + beta` with the batch's μ and σ in training and running averages in use (Ioffe 2015).

    The averages move by a tenth of the way at each training call, as is the custom.
    """

    takes_moments = False
    momentum = 0.1

    def __init__(self, C: int) -> None:
        self.gamma = _parameter(np.ones(C))
        self.beta = _parameter(np.zeros(C))
        self.running_mean = np.zeros(C, np.float32)
        self.running_variance = np.ones(C, np.float32)

    def __call__(
        self, x: Any, residual: Any = None, *, relu: bool, moments: Any = None, style: Any = None, training: bool
    ) -> Tensor:
        """Normalise `x`; `moments` and `style` make no difference."""
        fused = relu and residual is None
        if training:
            y, batch = ops.batch_norm(x, self.gamma, self.beta, relu=fused)
            for running, new in zip((self.running_mean, self.running_variance), batch, strict=True):
                running += self.momentum * (new - running)
        else:
            running_moments = self.running_mean, self.running_variance
            y = ops.batch_norm(x, self.gamma, self.beta, running=running_moments, relu=fused)
        if residual is not None:
            y = ops.relu(y + residual) if relu else y + residual
        return y


Norm = InstanceNorm | ConditionalInstanceNorm | PredictedNorm | BatchNorm


# --- convolution ------------------------------------------------------------------------------------------


def _takes_bias_out(norm: Norm | None) -> bool:
    """Whether what is added to a whole channel of a picture makes no difference: its own mean is subtracted."""
    return norm is not None and norm.takes_moments


def _bias(M: int, norm: Norm | None) -> Tensor:
    """Zeros `(M,)`; where they make no difference they are kept for the papers' tables and files, and not trained."""
    bias = _parameter(np.zeros(M))
    bias.requires_grad = not _takes_bias_out(norm)
    return bias


class Conv2d:
    """Convolution of K x K, C to M channels, mirror-padded to keep the size; then `norm`, then ReLU if asked for.

    `upsample` enlarges the picture first (nearest neighbour): the resize-convolution of Odena 2016, which has no
    checkerboard. `stride` divides the size.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        K: int,
        C: int,
        M: int,
        *,
        stride: int = 1,
        upsample: int = 1,
        bias: bool = True,
        norm: Norm | None = None,
        relu: bool = False,
    ) -> None:
        self.weight = _kernel(rng, K, K, C, M)
        self.bias = _bias(M, norm) if bias else None
        self.norm = norm
        self._relu, self._stride, self._upsample = relu, stride, upsample

    def __call__(self, x: Any, residual: Any = None, *, style: Any = None, training: bool = False) -> Tensor:
        """The layer's result for `x (N, H, W, C)`; the norm adds `residual` before the ReLU."""
        moments = _takes_bias_out(self.norm)
        y = ops.conv2d(
            x,
            self.weight,
            None if _takes_bias_out(self.norm) else self.bias,
            stride=self._stride,
            pad=self.weight.shape[0] // 2,
            mode="reflect",
            upsample=self._upsample,
            relu=self._relu and self.norm is None,
            moments=moments,
        )
        if self.norm is None:
            return y
        y, known = y if moments else (y, None)
        return self.norm(y, residual, relu=self._relu, moments=known, style=style, training=training)


class ConvTranspose2d:
    """Fractionally strided convolution of 3 x 3, C to M channels, to twice the size (Johnson 2016); then `norm`.

    A checkerboard is possible: 3 does not divide by 2, so the kernels overlap unevenly.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        C: int,
        M: int,
        *,
        bias: bool = True,
        norm: Norm | None = None,
        relu: bool = False,
    ) -> None:
        self.weight = _kernel(rng, 3, 3, C, M)
        self.bias = _bias(M, norm) if bias else None
        self.norm = norm
        self._relu = relu

    def __call__(self, x: Any, *, style: Any = None, training: bool = False) -> Tensor:
        """The layer's result `(N, 2H, 2W, M)` for `x (N, H, W, C)`."""
        bias = None if _takes_bias_out(self.norm) else self.bias
        y = ops.conv_transpose2d(x, self.weight, bias, stride=2, pad=1, output_pad=1)
        if self.norm is not None:
            return self.norm(y, relu=self._relu, style=style, training=training)
        return ops.relu(y) if self._relu else y


class Residual:
    """Two convolutions of 3 x 3 and the input added to their result; no ReLU after the sum (Gross 2016)."""

    def __init__(self, rng: np.random.Generator, C: int, *, bias: bool, norms: tuple[Norm, Norm]) -> None:
        first, second = norms
        self.conv1 = Conv2d(rng, 3, C, C, bias=bias, norm=first, relu=True)
        self.conv2 = Conv2d(rng, 3, C, C, bias=bias, norm=second)

    def __call__(self, x: Any, *, styles: tuple[Any, Any] = (None, None), training: bool = False) -> Tensor:
        """The block's result, of the shape of `x`; `styles` are those of the two norms."""
        y = self.conv1(x, style=styles[0], training=training)
        return self.conv2(y, x, style=styles[1], training=training)


# --- without pixels ---------------------------------------------------------------------------------------


class Linear:
    """`x @ weight · 10/√C + bias`, from C numbers to M; without `bias` nothing is added.

    Adam moves every weight by the same step, so without the division the result would move the faster the more inputs
    there are (the equalised rate of Karras 2018, section 4.1); without the 10, what it says of each style would be
    learnt later than the kernels that it steers (style prediction, 400 steps: a tenth less of all the loss with it).
    The result starts with `deviation` times that of the inputs.
    """

    def __init__(self, rng: np.random.Generator, C: int, M: int, *, deviation: float = 1.0, bias: bool = True) -> None:
        self._gain = 10 * C**-0.5
        self.weight = _parameter(rng.standard_normal((C, M), np.float32) * np.float32(deviation / 10))
        self.bias = _parameter(np.zeros(M)) if bias else None

    def __call__(self, x: Any) -> Tensor:
        """The layer's result `(N, M)` for `x (N, C)`."""
        y = ops.matmul(x, self.weight) * self._gain
        return y if self.bias is None else y + self.bias


# --- what a network holds ---------------------------------------------------------------------------------


class _Slot(NamedTuple):
    """Where a value is: `getattr(holder, attribute)`."""

    name: str
    holder: Any
    attribute: str

    @property
    def value(self) -> Any:
        return getattr(self.holder, self.attribute)


def _walk(layer: Any, prefix: str = "") -> Iterator[_Slot]:
    """Every public attribute below `layer`, in the order in which constructors made them; lists count from 1."""
    for attribute, value in vars(layer).items():
        name = prefix + attribute
        if attribute.startswith("_"):
            continue
        if isinstance(value, list):
            for i, item in enumerate(value, start=1):
                yield from _walk(item, f"{name}{i}/")
        elif hasattr(value, "__dict__"):
            yield from _walk(value, name + "/")
        else:
            yield _Slot(name, layer, attribute)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and not isinstance(value, Tensor)


def parameters(net: Any) -> dict[str, Tensor]:
    """Every parameter of `net` by its name, such as `residual1/conv1/weight`, in the order of the network."""
    return {slot.name: slot.value for slot in _walk(net) if isinstance(slot.value, Tensor)}


def buffers(net: Any) -> dict[str, Array]:
    """Every array of `net` that is kept but not trained, by its name: the running averages of batch norm."""
    return {slot.name: slot.value for slot in _walk(net) if _is_array(slot.value)}


def state(net: Any) -> dict[str, Array]:
    """The values of all parameters and buffers by name: what a model file holds."""
    return {name: t.data for name, t in parameters(net).items()} | buffers(net)


def set_state(net: Any, values: Mapping[str, Array]) -> None:
    """Make `values` the parameters and buffers of `net`. The arrays are used as they are, not copied.

    Raises
    ------
    NanostyleError
        A name is missing or too many, or a shape differs; the message names the first.
    """
    slots = {slot.name: slot for slot in _walk(net) if isinstance(slot.value, Tensor) or _is_array(slot.value)}
    for name in slots.keys() ^ values.keys():
        which = "lacks" if name in slots else "holds an unknown"
        raise NanostyleError(f"the state {which} {name!r}; it belongs to another network")
    for name, slot in slots.items():
        if slot.value.shape != values[name].shape:
            raise NanostyleError(
                f"{name!r} has the shape {values[name].shape}, expected {slot.value.shape};"
                " the state belongs to another network"
            )
    for name, slot in slots.items():
        if isinstance(slot.value, Tensor):
            slot.value.data = values[name]
        else:
            setattr(slot.holder, slot.attribute, values[name])


def move(net: Any, device: str) -> None:
    """Bring all that `net` holds to `device` (`cpu` or `cuda`)."""
    set_state(net, {name: to_device(value, device) for name, value in state(net).items()})


def freeze(net: Any) -> None:
    """Ask for no gradient of any parameter of `net`."""
    for parameter in parameters(net).values():
        parameter.requires_grad = False
