"""Stylizing a moving picture: frame after frame, in parts, so that a run that was killed can go on."""

import dataclasses
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nanostyle.backend.comm.world import World
from nanostyle.backend.pipeline import Behind, ahead
from nanostyle.backend.threads import thread_count
from nanostyle.io.image_read import Picture
from nanostyle.io.video import library
from nanostyle.io.video.clip import Clip, Frame, Frame8
from nanostyle.io.video.join import Source
from nanostyle.io.video.motion import Vectors, tracked
from nanostyle.io.video.parts import LENGTH, Parts
from nanostyle.io.video.selection import Selection, selected
from nanostyle.io.video.sinks import Sink, Whole, sink_of
from nanostyle.methods.frame_passes import Pass, painted
from nanostyle.methods.masks import Mask, fitted_masks
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.temporal import Carried, Memory, Planned, Stabilizer
from nanostyle.methods.video_options import VideoOptions
from nanostyle.methods.video_tally import Tally

_Moving: TypeAlias = tuple[tuple[Frame, Vectors | None], Sequence[Mask] | None]
_Painted: TypeAlias = tuple[Frame, Planned, Frame8 | None]

# Bytes for each pixel of a frame: of frames that wait for the network or for those before them, and of the encoder,
# which looks far ahead, with the search for motion.
_WAITING, _CODED = 320, 180

_STATE = 2
"""Which form the state of a part has: a run goes on from parts of the same form alone."""

MaskTrack: TypeAlias = Mask | Clip
"""Where a style goes: one mask for all frames, or a clip with one for each."""


@dataclass(frozen=True)
class VideoStep:
    """How far a video is.

    Attributes
    ----------
    done : int
        Frames that are stylized, with those of earlier runs.
    total : int or None
        How many there will be, about; None where the source does not tell.
    """

    done: int
    total: int | None


class VideoRun:
    """One moving picture on its way to a file.

    Parameters
    ----------
    stylizer
        The styles; its method is one of one pass.
    clip
        The source.
    output
        The result: a video, an animation, a folder or a pattern.
    masks
        Where each style goes, in place of the stylizer's.
    plan
        What has to be the same when a run goes on, in values that JSON can hold.
    ranks
        Who paints frames, as this process does; the others call `paint_for_first` meanwhile. None: nobody else.

    Attributes
    ----------
    notes : list of str
        What was left out or changed, in words.

    Raises
    ------
    NanostyleError
        Parts of another run are there, or the codec does not fit the output.
    ValueError
        The output has no suffix that is known.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        clip: Clip,
        output: Path,
        options: VideoOptions,
        *,
        masks: Sequence[MaskTrack] = (),
        plan: dict[str, Any],
        overwrite: bool = False,
        ranks: World | None = None,
    ) -> None:
        self.stylizer, self.clip, self.output, self.options = stylizer, clip, output, options
        _check_masks(masks, clip)
        self._masks, self._overwrite, self._ranks = masks, overwrite, ranks or World()
        self.notes: list[str] = []
        self.tally = Tally()
        self._parts = Parts.of(output)
        self._selection = Selection(options.start, options.end, options.frames, options.rate)
        size = clip.original if options.output_size == "source" else clip.size
        self._sink: Sink = sink_of(output)(
            output, self._parts.folder, tick=clip.tick, size=size, codec=options.codec, quality=options.quality
        )
        self._parts.open({**plan, "state": _STATE}, resume=options.resume)
        self._memory: Memory | None = None  # of the last frame that was given to the sink
        self._part = self._begun = 0
        self._restore()
        self._masks_move = any(isinstance(mask, Clip) for mask in masks)
        # The masks of a frame may differ from those of the one before.
        self._stabilizer = Stabilizer(options.stability, self._memory, carries=not self._masks_move)

    @property
    def total(self) -> int | None:
        """How many frames there will be, about; None where the source does not tell."""
        return self._selection.count(self.clip)

    @property
    def memory(self) -> float | None:
        """The bytes that it takes, about, beside the program itself: passes and waiting frames; None on a GPU."""
        one = self.stylizer.memory_for(self.clip.size)
        if one is None:
            return None
        passes = one * (thread_count() + 1)
        if self.stylizer.options.memory is not None:
            passes = min(passes, self.stylizer.options.memory)
        height, width = self.clip.size
        return passes + (_WAITING + _CODED) * height * width

    # --- frames -----------------------------------------------------------------------------------------------------

    def steps(self) -> Generator[VideoStep, None, None]:
        """Stylize the frames that are left, then write the result; yields after each frame. Closing it keeps the parts.

        Raises
        ------
        ValueError, OSError
            The source cannot be read any further, or the result cannot be written.
        """
        total = self.total
        first = len(self.tally.stamps)
        with Behind() as writer:
            try:
                with closing(ahead(self._moving(first))) as moving, closing(self._painted(moving)) as painted:
                    self._begin(writer)
                    for frame, planned, made in painted:
                        pixels = self._stabilizer.finish(planned, made)
                        writer.do(self._sink.add, replace(frame, pixels=pixels), len(self.tally.stamps))
                        is_cut = self.options.stability != "off" and planned.is_cut
                        self.tally.add(frame, self._stabilizer.flicker, is_cut=is_cut, is_painted=made is not None)
                        self._memory = self._stabilizer.memory
                        if len(self.tally.stamps) % LENGTH == 0:
                            self._end(writer)
                            self._begin(writer)
                        yield VideoStep(len(self.tally.stamps), total)
            finally:
                # After Ctrl-C too: what is painted is kept.
                self._end(writer)
        if not self.tally.stamps:
            self._parts.remove()
            raise ValueError(f"{self.clip.path} has no frame from {self.options.start:g} s on")
        self._finish()

    def _painted(self, moving: Iterator[_Moving]) -> Generator[_Painted, None, None]:
        """Each frame as it was planned, and painted if it is: several at once, where that is quicker, by all ranks."""
        waiting: deque[tuple[Frame, Planned]] = deque()

        def passes() -> Iterator[Pass]:
            for (frame, vectors), masks in moving:
                seconds = float(frame.duration * self.clip.tick)
                planned = self._stabilizer.plan(frame.pixels, vectors, seconds=seconds)
                waiting.append((frame, planned))
                if not planned.is_carried:
                    yield Pass(planned.frame, planned.shift, masks)

        with closing(painted(self.stylizer, passes(), self.clip.size, self._ranks)) as results:
            for result in results:
                while waiting[0][1].is_carried:
                    yield *waiting.popleft(), None
                yield *waiting.popleft(), result
        for one in waiting:
            yield *one, None

    def _moving(self, first: int) -> Iterator[_Moving]:
        """From the frame `first` on: each frame with its motion and its masks."""
        frames = islice(selected(self.clip, self._selection), first, None)
        followed = self.options.stability != "off" and library.is_installed()
        moving: Iterator[tuple[Frame, Vectors | None]]
        if followed:
            memory = self._memory
            scale = 4 if self.options.stability == "high" else 2
            before = None if memory is None else memory.frame
            moving = tracked(frames, size=self.clip.size, part=LENGTH, scale=scale, index=first, before=before)
        else:
            moving = ((frame, None) for frame in frames)
        return zip(moving, self._masks_of_frames(first), strict=False)

    def _masks_of_frames(self, first: int) -> Iterator[Sequence[Mask] | None]:
        if not self._masks_move:
            return repeat(None)  # those of the stylizer, or none
        return zip(*(self._track(mask, first) for mask in self._masks), strict=False)

    def _track(self, mask: MaskTrack, first: int) -> Iterator[Mask]:
        if not isinstance(mask, Clip):
            yield from repeat(mask)
            return
        frame = None
        for frame in islice(selected(mask, self._selection), first, None):
            yield frame.pixels.mean(axis=-1, dtype=np.float32) / np.float32(255)
        raise ValueError(f"mask: {mask.path} ends before the video does; make them equally long")

    # --- parts ------------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Take up what the last whole part left."""
        self._part = self._parts.count()
        if not self._part:
            return
        state = self._parts.load(self._part - 1)
        self.tally = Tally.of(state)
        if "frame" in state:
            shift = float(state["shift"][0]), float(state["shift"][1])
            frames, seconds, entered = (float(value) for value in state["carried"])
            carried = Carried(int(frames), seconds, entered)
            self._memory = Memory(state["frame"], state["result"], state["pictured"], shift, carried)

    def _begin(self, writer: Behind) -> None:
        self._begun = len(self.tally.stamps)
        writer.do(self._sink.begin, self._part)

    def _end(self, writer: Behind) -> None:
        """End the part under way; one without frames does not count."""
        if len(self.tally.stamps) == self._begun:
            writer.do(self._sink.end)
            return
        tally, memory = self.tally, self._memory
        state = tally.arrays()
        if memory is not None:
            state |= {"frame": memory.frame, "result": memory.result, "pictured": memory.pictured}
            state |= {"shift": np.asarray(memory.shift), "carried": np.asarray(memory.carried, float)}
        writer.do(self._sink.end)
        writer.do(self._parts.save, self._part, state)
        self._part += 1
        self._begun = len(tally.stamps)

    def _finish(self) -> None:
        clip, options, tally = self.clip, self.options, self.tally
        begin = clip.begin + self._selection.begin
        cut = options.end is not None or options.frames is not None
        length = (tally.stamps[-1] + tally.durations[-1]) * clip.tick
        source = Source(clip.path, begin, begin + length if cut else None, options.start > 0, options.audio == "copy")
        whole = Whole(
            self._part, tally.stamps, tally.durations, self.recipe(), clip.loop, source if clip.has_sound else None
        )
        self.notes += clip.notes
        self.notes += self._sink.finish(whole, overwrite=self._overwrite)
        if not options.keep_parts:
            self._parts.remove()

    # --- what is told -----------------------------------------------------------------------------------------------

    def recipe(self) -> dict[str, Any]:
        """How the result is made, in values that JSON can hold."""
        known = dataclasses.asdict(self.options)
        left_out = ("resume", "keep_parts", "audio")
        kept = {key: value for key, value in known.items() if key not in left_out}
        motion = "blocks" if library.is_installed() else "whole picture"
        return {**self.stylizer.recipe_of(self.clip.path.name), **kept, "motion": motion}

    def report(self) -> dict[str, Any]:
        """What came of it: frames, those painted, seconds, cuts, flicker of source and result (rms of 255), notes."""
        return {
            **self.tally.report(self.clip.tick),
            "size": [self.clip.size[1], self.clip.size[0]],
            "skipped": self.clip.skipped,
            "notes": self.notes,
            "recipe": self.recipe(),
        }


def _check_masks(masks: Sequence[MaskTrack], clip: Clip) -> None:
    """Refuse a mask of other proportions than the clip."""
    photo = Picture(np.empty((0, 0, 3), np.float32), None, original=clip.original)
    for mask in masks:
        if isinstance(mask, Clip):
            fitted_masks([np.zeros(mask.original, np.float32)], [mask.path.name], photo)
        else:
            fitted_masks([mask], [""], photo)
