"""Reverse-mode differentiation, first order, eager.

An op is one function: forward first, then one small closure per differentiable input, in sight of each other.

    @op
    def mul(a, b):
        return a * b, (lambda g: g * b, lambda g: g * a)

Positional arguments are differentiable, keyword-only ones are not. What a gradient remembers is what its
closure mentions, and the closure of an input that needs no gradient is not kept: frozen weights cost nothing.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from nanostyle.backend.device import module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array, R

Vjp: TypeAlias = Callable[[Array], Array]
# What an op returns: its result, and for each positional argument the function from dL/dy to its gradient.
Forward: TypeAlias = tuple[Array, tuple[Vjp, ...]]

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_serial = itertools.count()


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Within the block ops leave no record: nothing can be differentiated, and nothing is kept for it."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Whether ops leave a record here: False within `no_grad`."""
    return _recording.get()


@primitive
def add_up(a: Array, b: Array, *, out: Array) -> Array:
    """`a + b`, of one shape, written to `out`, which may be `a`: two gradients of one tensor."""
    total: Array = module_of(a).add(a, b, out=out)
    return total


class Tensor:
    """An array with, where asked for, the gradient of one number with respect to it.

    Attributes
    ----------
    data : Array
        The values, on NumPy or CuPy.
    grad : Array or None
        After `backward`: d(result)/d(data), of the same shape and dtype. Leaves only; it adds up over calls.
    requires_grad : bool
        Whether `backward` reaches this tensor.
    """

    __slots__ = ("_edges", "_serial", "data", "grad", "requires_grad")
    # An array on the left leaves the operation to the tensor on the right.
    __array_ufunc__ = None

    def __init__(self, data: npt.ArrayLike, *, requires_grad: bool = False) -> None:
        self.data: Array = cast(Array, data) if hasattr(data, "dtype") else np.asarray(data)
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        # The inputs that need a gradient, each with the function from this tensor's gradient to its own.
        # None: a leaf. Empty: computed from nothing that needs a gradient, or already spent.
        self._edges: tuple[tuple[Tensor, Vjp], ...] | None = None
        # Ops run in order, so the serial number is a topological order of the record.
        self._serial = next(_serial)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return self.data.dtype

    def item(self) -> float:
        """The value of a tensor that holds one number."""
        return float(self.data.item())

    def __repr__(self) -> str:
        """Say shape, dtype and whether a gradient is wanted."""
        return f"Tensor{self.shape} {self.dtype}{', requires_grad' if self.requires_grad else ''}"

    def backward(self, gradient: Array | None = None) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that this tensor was computed from.

        The record is spent on the way: each gradient and each closure is freed as soon as it has been used, so
        a second `backward` through the same record finds nothing.

        Parameters
        ----------
        gradient : Array, optional
            d(result)/d(self), of this tensor's shape. Without it this tensor must hold one number.

        Raises
        ------
        ValueError
            The tensor holds more than one number and no `gradient` is given, or the shapes differ.
        """
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(f"backward: expected a tensor that holds one number, got shape {self.shape}")
            gradient = module_of(self.data).ones_like(self.data)
        elif gradient.shape != self.shape:
            raise ValueError(f"backward: expected a gradient of shape {self.shape}, got {gradient.shape}")

        pending: dict[int, Tensor] = {self._serial: self}
        gradients: dict[int, Array] = {self._serial: gradient}
        ours: set[int] = set()  # gradients that nothing else can see: these may be added to in place
        given = [gradient]  # arrays already handed to the caller
        while pending:
            tensor = pending.pop(max(pending))
            g = gradients.pop(tensor._serial)
            if tensor._edges is None:
                if tensor.requires_grad:
                    # The gradient is the caller's to keep, so it must be nobody else's memory.
                    own = g if tensor._serial in ours or _is_free(g, given) else g.copy()
                    given.append(own)
                    tensor.grad = own if tensor.grad is None else tensor.grad + own
                continue
            edges, tensor._edges = tensor._edges, ()
            for source, vjp in edges:
                part = vjp(g)
                if part.dtype != source.dtype:  # float16 meets the float32 of parameters and statistics
                    part = part.astype(source.dtype)
                key = source._serial
                if key not in gradients:
                    gradients[key], pending[key] = part, source
                else:
                    so_far = gradients[key]
                    total = so_far if key in ours else empty(part.shape, part.dtype, like=part)
                    gradients[key] = add_up(so_far, part, out=total)
                    ours.add(key)
                    del so_far, total
                # Nothing that is spent may outlive this turn: the next one allocates.
                del part, vjp
            del g, edges

    # Operators, written out: they can be searched for, and each says what it does.

    def __add__(self, other: "Operand") -> "Tensor":
        """`self + other`, with broadcasting."""
        return add(self, other)

    def __radd__(self, other: "Operand") -> "Tensor":
        """`other + self`, with broadcasting."""
        return add(other, self)

    def __sub__(self, other: "Operand") -> "Tensor":
        """`self - other`, with broadcasting."""
        return sub(self, other)

    def __rsub__(self, other: "Operand") -> "Tensor":
        """`other - self`, with broadcasting."""
        return sub(other, self)

    def __mul__(self, other: "Operand") -> "Tensor":
        """`self * other`, with broadcasting."""
        return mul(self, other)

    def __rmul__(self, other: "Operand") -> "Tensor":
        """`other * self`, with broadcasting."""
        return mul(other, self)

    def __truediv__(self, other: "Operand") -> "Tensor":
        """`self / other`, with broadcasting."""
        return div(self, other)

    def __rtruediv__(self, other: "Operand") -> "Tensor":
        """`other / self`, with broadcasting."""
        return div(other, self)

    def __neg__(self) -> "Tensor":
        """`-self`."""
        return neg(self)

    def __matmul__(self, other: "Operand") -> "Tensor":
        """`self @ other`: the matrix product."""
        return matmul(self, other)

    def __rmatmul__(self, other: "Operand") -> "Tensor":
        """`other @ self`: the matrix product."""
        return matmul(other, self)


# What an op takes: arrays and numbers are constants.
Operand: TypeAlias = Tensor | Array | float


def _is_free(g: Array, given: list[Array]) -> bool:
    """Whether whole, writable memory is behind `g`, and none of it behind one of `given`."""
    whole = g.flags.c_contiguous and getattr(g.flags, "writeable", True)  # CuPy has no array that is not
    return whole and not any(module_of(g).may_share_memory(g, other) for other in given)


def op(fn: Callable[..., Forward]) -> Callable[..., Tensor]:
    """Make a differentiable op of a function of arrays.

    `fn` takes arrays and returns `y, vjps`: the result, and for each positional argument the function from
    dL/dy to dL/d(argument). That is a new array, or dL/dy itself, or looks into one of these; it is none that the op
    was given or has returned.

    The op takes tensors (or arrays and numbers, which are constants) and returns the tensor of `y`.
    """
    return op_with_byproduct(fn)


def op_with_byproduct(fn: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """As `op`, for a function that may return a third value: a by-product through which no gradient flows.

    The op then returns `(tensor, by-product)`.
    """

    @wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        if named := [name for name, value in kwargs.items() if isinstance(value, Tensor)]:
            raise TypeError(f"{fn.__name__}: {named[0]} is a tensor; give it by its position, without the name")
        y, vjps, *byproduct = fn(*(a.data if isinstance(a, Tensor) else a for a in args), **kwargs)
        out = Tensor(y)
        out._edges = ()
        if is_recording():
            out._edges = tuple(
                (a, vjp) for a, vjp in zip(args, vjps, strict=False) if isinstance(a, Tensor) and a.requires_grad
            )
            out.requires_grad = bool(out._edges)
        return (out, *byproduct) if byproduct else out

    run.is_op = True  # type: ignore[attr-defined]
    return run


def once(fn: Callable[[Array], R]) -> Callable[[Array], R]:
    """Share one computation between the gradients of an op: `fn` runs once for each gradient it is given."""
    last: list[tuple[Array, R]] = []

    def remember(g: Array) -> R:
        if not last or last[0][0] is not g:
            last[:] = [(g, fn(g))]
        return last[0][1]

    return remember


def unbroadcast(g: Array, like: Array | float) -> Array:
    """Sum the gradient `g` over the axes along which `like` was broadcast: the one place where that is undone."""
    shape = getattr(like, "shape", ())
    if g.shape == shape:
        return g
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=stretched, keepdims=True) if stretched else g


# --- arithmetic: here, because the operators of Tensor stand on it -----------------------------------------


@op
def add(a: Array, b: Array) -> Forward:
    """`a + b`, with broadcasting."""
    return a + b, (lambda g: unbroadcast(g, a), lambda g: unbroadcast(g, b))


@op
def sub(a: Array, b: Array) -> Forward:
    """`a - b`, with broadcasting."""
    return a - b, (lambda g: unbroadcast(g, a), lambda g: unbroadcast(-g, b))


@op
def mul(a: Array, b: Array) -> Forward:
    """`a * b`, element by element, with broadcasting."""
    return a * b, (lambda g: unbroadcast(g * b, a), lambda g: unbroadcast(g * a, b))


@op
def div(a: Array, b: Array) -> Forward:
    """`a / b`, element by element, with broadcasting."""
    return a / b, (lambda g: unbroadcast(g / b, a), lambda g: unbroadcast(-g * a / (b * b), b))


@op
def neg(a: Array) -> Forward:
    """`-a`."""
    return -a, (lambda g: -g,)


@primitive
def matmul_forward(a: Array, b: Array) -> Array:
    """`a @ b`."""
    c: Array = a @ b
    return c


@op
def matmul(a: Array, b: Array) -> Forward:
    """`a @ b` for matrices `(..., I, J)` and `(..., J, K)`; leading axes broadcast.

    Raises
    ------
    ValueError
        An argument has fewer than two axes, or the inner lengths differ.
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: expected shapes (..., I, J) and (..., J, K), got {a.shape} and {b.shape}")
    return matmul_forward(a, b), (
        lambda g: unbroadcast(matmul_forward(g, b.swapaxes(-1, -2)), a),
        lambda g: unbroadcast(matmul_forward(a.swapaxes(-1, -2), g), b),
    )
