"""Parameters, buffers and state: found by walking attributes and lists."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import Device, to_device
from nanostyle.backend.types import Array
from nanostyle.errors import NanostyleError

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
    """Every public attribute below `layer`, in the order in which constructors made them; lists count from 1.

    A network that is a list of layers names them itself, by `named_layers()`, and holds nothing else.
    """
    if hasattr(layer, "named_layers"):
        for name, part in layer.named_layers():
            yield from _walk(part, f"{prefix}{name}/")
        return
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
    """Every parameter of `net` by its name, such as `residual1/conv1/weight`, in the order of the network.

    >>> import numpy as np
    >>> from nanostyle.nn.layers import Conv2d
    >>> from nanostyle.nn.norms import BatchNorm
    >>> layer = Conv2d(np.random.default_rng(0), 3, 8, 4, norm=BatchNorm(4))
    >>> {name: parameter.shape for name, parameter in parameters(layer).items()}
    {'weight': (3, 3, 8, 4), 'bias': (4,), 'norm/gamma': (4,), 'norm/beta': (4,)}
    """
    return {slot.name: slot.value for slot in _walk(net) if isinstance(slot.value, Tensor)}


def buffers(net: Any) -> dict[str, Array]:
    """Every array of `net` that is kept but not trained, by its name: the running averages of batch norm.

    >>> from nanostyle.nn.norms import BatchNorm
    >>> list(buffers(BatchNorm(4)))
    ['running_mean', 'running_variance']
    """
    return {slot.name: slot.value for slot in _walk(net) if _is_array(slot.value)}


def state(net: Any) -> dict[str, Array]:
    """The values of all parameters and buffers by name: what a model file holds.

    >>> from nanostyle.nn.norms import BatchNorm
    >>> list(state(BatchNorm(4)))
    ['gamma', 'beta', 'running_mean', 'running_variance']
    """
    return {name: t.data for name, t in parameters(net).items()} | buffers(net)


def set_state(net: Any, values: Mapping[str, Array]) -> None:
    """Make `values` the parameters and buffers of `net`. The arrays are used as they are, not copied.

    >>> import numpy as np
    >>> from nanostyle.nn.norms import InstanceNorm
    >>> norm = InstanceNorm(2)
    >>> set_state(norm, {"gamma": np.array([2.0, 3.0]), "beta": np.zeros(2)})
    >>> norm.gamma.data.tolist()
    [2.0, 3.0]

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


def move(net: Any, device: Device) -> None:
    """Bring all that `net` holds to `device`.

    >>> from nanostyle.backend.device import CPU
    >>> from nanostyle.nn.norms import InstanceNorm
    >>> move(InstanceNorm(2), CPU)
    """
    set_state(net, {name: to_device(value, device) for name, value in state(net).items()})


def freeze(net: Any) -> None:
    """Ask for no gradient of any parameter of `net`.

    >>> from nanostyle.nn.norms import InstanceNorm
    >>> norm = InstanceNorm(2)
    >>> freeze(norm)
    >>> norm.gamma.requires_grad
    False
    """
    for parameter in parameters(net).values():
        parameter.requires_grad = False


def is_style_parameter(name: str) -> bool:
    """Whether the parameter of that name is a norm's gamma or beta: what a style is, where a network has several.

    >>> [is_style_parameter(name) for name in ("up1/weight", "up1/norm/gamma")]
    [False, True]
    """
    return name.endswith(("/gamma", "/beta"))
