"""The description of a transformer network, as it stands in a model file, and its check."""

from collections.abc import Mapping, Sequence
from typing import Any

# What can be chosen for each architecture; the first is the default.
NORMS = {
    "johnson": ("instance", "batch"),
    "lengstrom": ("instance",),
    "dumoulin": ("conditional",),
    "ghiasi": ("predicted",),
}
UPSAMPLE = {
    "johnson": ("fractional", "nearest"),
    "lengstrom": ("fractional",),
    "dumoulin": ("nearest",),
    "ghiasi": ("nearest",),
}
OUTPUTS = {
    "johnson": ("tanh", "linear"),
    "lengstrom": ("tanh150",),
    "dumoulin": ("sigmoid",),
    "ghiasi": ("sigmoid",),
}

MAX_STYLES = 10_000

BLOCKS = 5
"""Residual blocks, as in all three papers."""

CHANNELS = (32, 64, 128, 64, 32)
"""Of conv1, conv2, conv3 and the residual blocks, up1, up2, as in all three papers."""

_MOST_BLOCKS, _MOST_CHANNELS = 64, 1024


def transformer_config(
    arch: str,
    *,
    norm: str | None = None,
    upsample: str | None = None,
    width: float = 1.0,
    styles: int = 1,
    identity: bool = False,
    output: str | None = None,
    channels: Sequence[int] | None = None,
    blocks: int = BLOCKS,
) -> dict[str, Any]:
    """The description of a `TransformerNet`, as it stands in a model file.

    Parameters
    ----------
    arch
        `johnson`, `dumoulin` or `ghiasi`; `lengstrom`, as that program has it.
    norm
        For johnson `instance` (default) or `batch`; the others have one kind each.
    upsample
        For johnson `fractional` (default: transposed convolution, as in the paper) or `nearest` (enlarge, then
        convolve: no checkerboard); one for each of the others.
    width
        Times the channels of the papers, 0.05 to 2.
    styles
        The rows of gamma and beta, where the norm is conditional.
    identity
        Whether the first of several styles is `photo`.
    output
        What follows the last layer: for johnson `tanh` (default) or `linear`; one for each of the others.
    channels
        Of conv1, conv2, conv3, up1 and up2, in place of `width`.
    blocks
        The number of residual blocks.

    Raises
    ------
    ValueError
        A value that the architecture does not admit.

    Examples
    --------
    >>> transformer_config("dumoulin", styles=3)["norm"]
    'conditional'
    """
    if arch not in NORMS:
        raise ValueError(f"arch: expected {', '.join(NORMS)}, got {arch!r}")
    chosen = {"norm": norm or NORMS[arch][0], "upsample": upsample or UPSAMPLE[arch][0]}
    output = output or OUTPUTS[arch][0]
    for name, value, admitted in (
        ("norm", chosen["norm"], NORMS[arch]),
        ("upsample", chosen["upsample"], UPSAMPLE[arch]),
        ("output", output, OUTPUTS[arch]),
    ):
        if value not in admitted:
            raise ValueError(f"{name}: {arch} networks have {' or '.join(admitted)}, got {value!r}")
    if not isinstance(width, int | float) or not 0.05 <= width <= 2:
        raise ValueError(f"width: expected a number from 0.05 to 2, got {width!r}")
    if not isinstance(styles, int) or not 1 <= styles <= MAX_STYLES:
        raise ValueError(f"styles: expected a whole number from 1 to {MAX_STYLES}, got {styles!r}")
    if identity and styles < 2:
        raise ValueError(f"styles: expected 2 or more beside the photo's own, got {styles}")
    config = {"arch": arch, **chosen, "width": float(width), "styles": styles, "identity": bool(identity)}
    # The rest stands in a description only where it is not as in the papers.
    return config | _departures("" if output == OUTPUTS[arch][0] else output, channels, blocks)


def _departures(output: str, channels: Sequence[int] | None, blocks: int) -> dict[str, Any]:
    if not _is_whole(blocks, _MOST_BLOCKS):
        raise ValueError(f"blocks: expected a whole number from 1 to {_MOST_BLOCKS}, got {blocks!r}")
    found: dict[str, Any] = {"output": output} if output else {}
    if channels is not None:
        found["channels"] = list(channels)
        if len(found["channels"]) != len(CHANNELS) or not all(_is_whole(C, _MOST_CHANNELS) for C in found["channels"]):
            raise ValueError(f"channels: expected five whole numbers from 1 to {_MOST_CHANNELS}, got {channels!r}")
    return found | ({"blocks": blocks} if blocks != BLOCKS else {})


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def channels_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The channels of conv1, conv2, conv3, up1 and up2.

    >>> channels_of(transformer_config("johnson", width=0.5))
    (16, 32, 64, 32, 16)
    """
    return tuple(config.get("channels") or (max(4, round(config["width"] * C)) for C in CHANNELS))
