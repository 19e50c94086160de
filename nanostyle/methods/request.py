"""The options of a stylization: one frozen object for command line, server and API."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nanostyle.backend.memory import bytes_of, free_memory
from nanostyle.errors import NanostyleError
from nanostyle.io.sources import Source, as_list
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.methods.strokes import LARGEST, LARGEST_BY_DEFAULT, SMALLEST, check_strokes

# Options that belong to Gatys' method, and to trained models; a seed makes no difference to these.
OF_GATYS = frozenset(
    {"loss_net", "pooling", "padding", *(f.name for f in dataclasses.fields(GatysOptions) if f.name != "seed")}
)
OF_TRAINED = frozenset({"strength", "strokes", "model"})


PROGRAM = 180_000_000
"""The bytes that the program itself takes, with its libraries, a model and the buffers of its threads: measured."""

_LEAST_MEMORY = 1_000_000


@dataclass(frozen=True)
class StylizeOptions:
    """How a photo is stylized. Values are checked on creation; what does not fit the method is refused by its name.

    Attributes
    ----------
    method
        `gatys` optimizes the pixels; `predict`, `cin` and `feedforward` are one pass through a trained network.
        `auto`: gatys if an option of it is chosen for a painting, else a trained model where there is one.
    weights : tuple of float
        The share of each style, in their order; 0 or more. Empty: equal shares.
    masks : tuple
        Where each style is to be, in their order, in place of weights: pictures, white there, black elsewhere.
    strength : float
        From 0, the photo, to 1, the whole style; for trained models.
    strokes : int or None
        How large the strokes of a trained model are: as on a photo whose long side is so many pixels, 64 to 4096. None:
        the photo's own, up to 768.
    size : int or None
        The long side of the result in pixels. None: the photo's.
    colors
        `style` takes the colors of the style, `content` keeps those of the photo.
    loss_net : str, path or None
        gatys: the network that compares pictures: `builtin`, `vgg16`, `vgg19` or a file. None: the first there is.
    pooling, padding : str or None
        gatys: how that network pools (`max`, `avg`) and pads (`zero`, `reflect`). None: as its file says.
    gatys : GatysOptions
        The other options of that method.
    device : str
        `auto`, `cpu` or `cuda`.
    precision : str
        `auto` (fp32 on a CPU, tf32 on a GPU), `fp32`, `tf32` or `fp16`. It holds for the whole process.
    threads : int or None
        How many threads the whole process computes with. None: as they are.
    preview : bool
        Whether to make a preview: the result at a long side of 512 pixels, in its strokes and colors, in less time.
    max_memory : str or None
        What the process may take of the main memory, as `2GB`: the program itself, which counts as 180 MB, and one
        pass, or the photos worked on at once. A larger picture is worked on in bands of rows. None: three quarters of
        what is free.
    chosen : frozenset of str or None
        The names of the options that were chosen, by which `auto` and the refusals go. None: those that differ from
        their defaults.

    Raises
    ------
    ValueError
        A value is outside its range.
    NanostyleError
        There are both masks and weights.

    Examples
    --------
    >>> from nanostyle import GatysOptions, StylizeOptions, stylize
    >>> options = StylizeOptions(method="gatys", size=64, colors="content", gatys=GatysOptions(iterations=2))
    >>> stylize("docs/pictures/photo.jpg", "docs/pictures/painting.jpg", options=options).recipe["method"]
    'gatys'
    """

    method: Literal["auto", "predict", "cin", "feedforward", "gatys"] = field(
        default="auto",
        metadata={
            "help": "gatys optimizes the pixels; the others are one pass through a trained model. auto: gatys if one"
            " of its options is given, else a trained model if there is one."
        },
    )
    weights: tuple[float, ...] = field(
        default=(), metadata={"flag": "weight", "help": "Share of each style, in their order. Default: equal shares."}
    )
    masks: tuple[Source, ...] = field(
        default=(),
        metadata={
            "flag": "mask",
            "metavar": "IMAGE",
            "type": Path,
            "help": "Where each style goes, in their order: all of it in white, nothing in black. Replaces {weight}.",
        },
    )
    strength: float = field(
        default=1.0,
        metadata={"range": (0.0, 1.0), "help": "From 0, the photo, to 1, the whole style. For trained models."},
    )
    strokes: int | None = field(
        default=None,
        metadata={
            "range": (SMALLEST, LARGEST),
            "help": "How large the strokes are: paint as if the photo's long side were so many pixels. For trained"
            f" models. Default: the photo's own, up to {LARGEST_BY_DEFAULT}.",
        },
    )
    size: int | None = field(
        default=None,
        metadata={"range": (1, None), "help": "Long side of the result, in pixels. Default: the photo's."},
    )
    colors: Literal["style", "content"] = field(
        default="style", metadata={"help": "Take the colors of the style, or keep those of the photo (content)."}
    )
    loss_net: str | Path | None = field(
        default=None,
        metadata={
            "metavar": "NAME|FILE",
            "type": str,
            "help": "Network that compares pictures: builtin, vgg16, vgg19 or a file. Default: the first one found.",
        },
    )
    pooling: Literal["max", "avg"] | None = field(
        default=None, metadata={"help": "Pooling of the loss network. Default: as its file says."}
    )
    padding: Literal["zero", "reflect"] | None = field(
        default=None, metadata={"help": "Padding of the loss network. Default: as its file says."}
    )
    gatys: GatysOptions = field(default_factory=GatysOptions)
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    preview: bool = field(
        default=False,
        metadata={"help": "Make the 512-pixel version of what the run without this option will give, in less time."},
    )
    max_memory: str | None = field(
        default=None,
        metadata={
            "metavar": "SIZE",
            "help": "Main memory that the program may take, as 2GB: about 180MB for itself, the rest for the photo, or"
            " the photos worked on at once; larger pictures are worked on in bands of rows. Default: three quarters of"
            " what is free.",
        },
    )
    chosen: frozenset[str] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        object.__setattr__(self, "masks", tuple(as_list(self.masks)))
        for name, hint in typing.get_type_hints(StylizeOptions).items():
            words = allowed(hint)
            value = getattr(self, name)
            if words and value is not None and value not in words:
                raise ValueError(f"{name}: expected {', '.join(words[:-1])} or {words[-1]}, got {value!r}")
        if self.max_memory is not None:
            bytes_of(self.max_memory)
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength: expected a number from 0 to 1, got {self.strength}")
        check_strokes(self.strokes)
        if self.size is not None and self.size < 1:
            raise ValueError(f"size: expected 1 pixel or more, got {self.size}")
        if not all(weight >= 0 and np.isfinite(weight) for weight in self.weights):
            raise ValueError(f"weights: expected finite numbers of 0 or more, got {list(self.weights)}")
        if self.masks and self.weights:
            raise NanostyleError("style: expected masks or weights, got both", hint="use {mask} and no {weight}")

    def changed(self, changes: Mapping[str, Any]) -> "StylizeOptions":
        """These options with `changes` by name; those of Gatys' method may be named as if they stood here.

        Raises
        ------
        TypeError
            There is no option of that name.
        """
        own = {f.name for f in dataclasses.fields(self)}
        of_gatys = {f.name for f in dataclasses.fields(GatysOptions)}
        for name in changes.keys() - own - of_gatys:
            near = difflib.get_close_matches(name, own | of_gatys, 1)
            raise TypeError(f"stylize: there is no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        here = {name: value for name, value in changes.items() if name in own}
        there = {name: value for name, value in changes.items() if name not in own}
        gatys = dataclasses.replace(here.pop("gatys", self.gatys), **there)
        chosen = here.pop("chosen", None if self.chosen is None else self.chosen | changes.keys())
        return dataclasses.replace(self, gatys=gatys, chosen=chosen, **here)

    @property
    def memory(self) -> int | None:
        """The bytes that work may take beside the program itself; None where the system does not tell what is free."""
        if self.max_memory is not None:
            return max(bytes_of(self.max_memory) - PROGRAM, _LEAST_MEMORY)
        free = free_memory()
        return None if free is None else free * 3 // 4

    def chosen_names(self) -> frozenset[str]:
        """The names of the options that were chosen; see `chosen`."""
        if self.chosen is not None:
            return self.chosen
        return _differences(self, StylizeOptions()) | _differences(self.gatys, GatysOptions())


def allowed(hint: Any) -> tuple[str, ...]:
    """The words that a `Literal`, or `Literal | None`, allows; none for another type."""
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is Literal:
            return typing.get_args(part)
    return ()


def _differences(options: Any, defaults: Any) -> frozenset[str]:
    names = (f.name for f in dataclasses.fields(options) if f.name not in ("gatys", "chosen", "masks"))
    found = {name for name in names if getattr(options, name) != getattr(defaults, name)}
    return frozenset(found)
