"""Joining the parts of a video with the sound and subtitles of its source, packet by packet, by PyAV."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from nanostyle.io.video.library import opened, pyav, writing

# What is kept of what a source tells of itself. Where it was taken is not.
_KEPT_TAGS = ("title", "artist", "album", "genre", "copyright", "date", "creation_time", "language")


@dataclass(frozen=True)
class Source:
    """The file whose tracks a video keeps.

    Attributes
    ----------
    path : Path
        The file.
    begin, end : Fraction, Fraction or None
        The part that is kept, in seconds of the file; `begin` becomes 0.
    is_cut : bool
        Whether what comes before `begin` is left out.
    has_sound : bool
        Whether its sound is kept; its subtitles always are.
    """

    path: Path
    begin: Fraction = Fraction(0)
    end: Fraction | None = None
    is_cut: bool = False
    has_sound: bool = True


@dataclass(eq=False)
class _Track:
    """A track of the source in the result; `encoder` is where its codec is changed."""

    source: Any
    result: Any
    resampler: Any = None


def join(
    target: Path,
    parts: Sequence[Path],
    durations: Mapping[int, int],
    *,
    tick: Fraction,
    source: Source | None,
    comment: str,
) -> list[str]:
    """Write the packets of `parts` into the video `target`, with the tracks of `source`; returns notes, in words.

    `durations` has the duration of each frame by its stamp, both in ticks. Tracks are copied packet by packet where
    the container takes them; other sound becomes AAC or Opus, other subtitles are left out.

    Raises
    ------
    OSError
        The folder is not writable, or the disk is full.
    """
    av = pyav()
    notes: list[str] = []
    options = {"movflags": "+faststart"} if target.suffix.lower() in (".mp4", ".mov") else {}
    with ExitStack() as stack:
        stack.enter_context(writing(target))
        output = stack.enter_context(av.open(str(target), "w", options=options))
        first = stack.enter_context(opened(parts[0]))
        video = output.add_stream_from_template(first.streams.video[0], opaque=True)
        video.time_base = tick
        packets = [_pictures(parts, durations, tick, video)]
        output.metadata["comment"] = comment
        if source is not None:
            container = stack.enter_context(opened(source.path))
            tracks = [track for stream in container.streams if (track := _track(av, output, stream, source, notes))]
            for tags, whose in ((output.metadata, container), *((t.result.metadata, t.source) for t in tracks)):
                tags.update({key: value for key, value in whose.metadata.items() if key.lower() in _KEPT_TAGS})
            if tracks:
                packets.append(_sounds(container, tracks, source))
        output.start_encoding()
        for _, packet in heapq.merge(*packets, key=lambda pair: pair[0]):
            output.mux(packet)
    return notes


def _pictures(
    parts: Sequence[Path], durations: Mapping[int, int], tick: Fraction, video: Any
) -> Iterator[tuple[float, Any]]:
    """The packets of all parts with their times in seconds."""
    for part in parts:
        with opened(part) as container:
            for packet in container.demux(video=0):
                if packet.dts is None:
                    continue
                duration = durations[round(packet.pts * packet.time_base / tick)]
                packet.duration = round(duration * tick / packet.time_base)
                time = float(packet.dts * packet.time_base)
                packet.stream = video
                yield time, packet


def _track(av: Any, output: Any, stream: Any, source: Source, notes: list[str]) -> _Track | None:
    """The track of the result for a track of the source; None where it has none."""
    if stream.type not in ("audio", "subtitle") or (stream.type == "audio" and not source.has_sound):
        return None
    codec = stream.codec_context.name if stream.codec_context is not None else "an unknown codec"
    # Samples as they are: MP4 may hold them, but hardly a program plays them there.
    if not (codec.startswith("pcm_") and output.format.name != "matroska"):
        with suppress(ValueError, AttributeError):
            return _Track(stream, output.add_stream_from_template(stream))
    if stream.type == "subtitle" or stream.codec_context is None:
        notes.append(f"a track of {stream.type} is left out: {output.format.name} does not take {codec}")
        return None
    other = "libopus" if "webm" in output.format.name else "aac"
    rate = 48_000 if other == "libopus" else stream.codec_context.sample_rate
    made = output.add_stream(other, rate=rate)
    layout = {1: "mono", 2: "stereo"}.get(stream.codec_context.channels, stream.codec_context.layout.name)
    made.codec_context.layout = layout
    notes.append(f"sound is written anew as {other.removeprefix('lib')}: {output.format.name} does not take {codec}")
    resampler = av.AudioResampler(made.codec_context.format, made.codec_context.layout, rate)
    return _Track(stream, made, resampler)


def _sounds(container: Any, tracks: Sequence[_Track], source: Source) -> Iterator[tuple[float, Any]]:
    """The packets of the other tracks with their times in seconds."""
    by_index = {track.source.index: track for track in tracks}
    for packet in container.demux([track.source for track in tracks]):
        track = by_index[packet.stream.index]
        if packet.dts is not None:
            time = Fraction((packet.pts if packet.pts is not None else packet.dts) * packet.time_base)
            if (source.is_cut and time < source.begin) or (source.end is not None and time >= source.end):
                continue
            late = round(source.begin / packet.time_base)
            packet.dts -= late
            packet.pts = packet.dts if packet.pts is None else packet.pts - late
        if track.resampler is None:
            if packet.dts is not None:
                time = packet.dts * packet.time_base
                packet.stream = track.result
                yield float(time), packet
            continue
        for frame in packet.decode():
            yield from _encoded(track, frame)
    for track in tracks:
        if track.resampler is not None:
            yield from _encoded(track, None)
            for made in track.result.encode(None):
                yield float((made.dts or 0) * made.time_base), made


def _encoded(track: _Track, frame: Any) -> Iterator[tuple[float, Any]]:
    for piece in track.resampler.resample(frame):
        for made in track.result.encode(piece):
            yield float((made.dts or 0) * made.time_base), made
