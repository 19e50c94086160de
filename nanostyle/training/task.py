"""The interface between a kind of training and the loop."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.types import Pixels


class Task(Protocol):
    """A network to train, and its loss. `StyleTask` and `PredictTask` implement it."""

    @property
    def net(self) -> object:
        """The network. Those of its parameters that want a gradient are trained."""

    @property
    def skipped(self) -> Mapping[Path, str]:
        """Pictures of the task's own, such as paintings, that could not be used so far, each with the reason."""

    def describe(self) -> dict[str, Any]:
        """What is trained, as JSON values. A checkpoint with another description is refused."""

    def inputs(self, step: int, count: int) -> dict[str, Any]:
        """What the loss of `step` depends on besides its `count` photos: arrays on the host, and constants.

        They follow from the seed and the step alone, so that a training can resume at any step.
        """

    @property
    def losses(self) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """From photos `(N, H, W, 3)` and `inputs` to the loss and its terms.

        On a GPU it is recorded once and then repeated: it keeps to the rules of `backend/gpu/graph.py: Repeated`.
        """

    def bytes_per_pixel(self) -> float:
        """The memory that a step takes, in bytes for each pixel of the photos."""

    def preview(self, photos: Sequence[Pixels]) -> tuple[Pixels, dict[str, dict[str, float]]]:
        """A contact sheet `(H, W, 3)`, and by the style's name its content and style loss."""

    def save(self, path: Path, recipe: dict[str, Any]) -> None:
        """Write the model as it is now."""
