"""What is counted over the frames of a video, and kept with each part of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.io.video.clip import Frame
from nanostyle.methods.temporal import Flicker


@dataclass
class Tally:
    """Stamps and durations; cuts; frames that were followed and painted; the sums of squares of what flickers."""

    stamps: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    cuts: int = 0
    followed: int = 0
    painted: int = 0
    of_source: float = 0.0
    of_result: float = 0.0

    @classmethod
    def of(cls, state: Mapping[str, npt.NDArray[Any]]) -> "Tally":
        """What `arrays` has told."""
        counts, sums = (int(n) for n in state["counts"]), (float(n) for n in state["sums"])
        return cls(state["stamps"].tolist(), state["durations"].tolist(), *counts, *sums)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of it, to be kept with a part."""
        return {
            "stamps": np.asarray(self.stamps, np.int64),
            "durations": np.asarray(self.durations, np.int64),
            "counts": np.asarray([self.cuts, self.followed, self.painted]),
            "sums": np.asarray([self.of_source, self.of_result]),
        }

    def add(self, frame: Frame, flicker: Flicker | None, *, is_cut: bool, is_painted: bool) -> None:
        """Count a frame, and a cut where there was a frame before."""
        if flicker is not None:
            self.followed += 1
            self.of_source += flicker.frame**2
            self.of_result += flicker.result**2
        elif self.stamps and is_cut:
            self.cuts += 1
        self.painted += is_painted
        self.stamps.append(frame.stamp)
        self.durations.append(frame.duration)

    def report(self, tick: Fraction) -> dict[str, Any]:
        """Frames, those that were painted, seconds, cuts, flicker of source and result (rms of 255)."""
        count = max(1, self.followed)
        end = self.stamps[-1] + self.durations[-1] - self.stamps[0] if self.stamps else 0
        return {
            "frames": len(self.stamps),
            "painted": self.painted,
            "seconds": float(end * tick),
            "cuts": self.cuts,
            "flicker_of_source": round((self.of_source / count) ** 0.5, 3),
            "flicker_of_result": round((self.of_result / count) ** 0.5, 3),
        }
