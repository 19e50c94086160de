"""What the ranks of a training agree on: at first that they do the same work, at each checkpoint where they stand."""

import json
import os
import statistics
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.backend.comm.world import world
from nanostyle.backend.device import module_of, to_host
from nanostyle.errors import NanostyleError
from nanostyle.nn.module import state
from nanostyle.training.checkpoint import Position

# A rank is named in the log if it computes so many times as long as the median one, and so much longer in seconds.
_SLOW, _SLOW_SECONDS = 1.5, 1.0


def check_same_work(options: Mapping[str, Any], photos: Sequence[Path]) -> None:
    """Raise on every rank unless all have the same `options`, and photos of the same names.

    Raises
    ------
    NanostyleError
        The message names the first rank that differs from rank 0, and in what.
    """
    if world().size == 1:
        return
    names = zlib.crc32(b"\0".join(os.fsencode(photo.name) for photo in photos))
    told = world().gather((json.dumps(options, sort_keys=True, default=str), names, len(photos)))
    (first, first_names, first_count), *_ = told
    for rank, (theirs, their_names, count) in enumerate(told):
        if theirs != first:
            here, there = json.loads(first), json.loads(theirs)
            name = next(name for name in here | there if here.get(name) != there.get(name))
            raise NanostyleError(
                f"rank {rank} has another {name} than rank 0 ({there.get(name)!r} and {here.get(name)!r})",
                hint="give every process the same command",
            )
        if (their_names, count) != (first_names, first_count):
            raise NanostyleError(
                f"rank {rank} has other photos than rank 0 ({count} and {first_count})",
                hint="every machine needs the same folders",
            )


def settle(position: Position, computing: float, skipped: Mapping[Path, str]) -> tuple[list[str], dict[Path, str]]:
    """Give all ranks the weights of rank 0, to the bit; what was noticed, in words, and what any rank has skipped.

    `computing` are the seconds that this rank has computed since the last checkpoint, `skipped` the pictures that it
    could not use.
    """
    here = world()
    if here.size == 1:
        return [], {}
    values = [*state(position.net).values(), *position.optimizer.state().values()]
    check = 0
    for value in values:
        check = zlib.crc32(np.ascontiguousarray(to_host(value)).data, check)
    checks, seconds, found = zip(*here.gather((check, computing, dict(skipped))), strict=True)
    events = []
    if len(set(checks)) > 1:
        for value, first in zip(values, here.share([to_host(value) for value in values]), strict=True):
            value[...] = module_of(value).asarray(first)
        events.append("the weights of the ranks differed: those of rank 0 are taken")
    median = statistics.median(seconds)
    events += [
        f"rank {rank} computes {own / median:.1f} times as long as the median rank"
        for rank, own in enumerate(seconds)
        if own > _SLOW * median and own > median + _SLOW_SECONDS
    ]
    return events, {path: reason for each in found for path, reason in each.items()}
