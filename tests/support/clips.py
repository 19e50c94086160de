"""Moving pictures made for tests: videos with sound, odd sides, times that vary."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

PHOTO = Path(__file__).parents[2] / "docs" / "pictures" / "photo.jpg"

VARYING = [0, 40, 80, 133, 160, 200, 210, 260, 300, 340, 400, 420]
"""Stamps of a video whose frames come at no fixed rate, in thousandths of a second."""


def panned(count: int, height: int = 48, width: int = 64, step: int = 1) -> list[np.ndarray]:
    """`count` frames `(height, width, 3)` uint8 cut out of a photo, each `step` pixels further to the right."""
    with Image.open(PHOTO) as image:
        scene = np.asarray(
            image.convert("RGB").resize((width + step * count + 20, 2 * height), Image.Resampling.LANCZOS)
        )
    return [np.ascontiguousarray(scene[9 : 9 + height, step * i : step * i + width]) for i in range(count)]


def write_video(
    path: Path,
    frames: list[np.ndarray],
    *,
    stamps: list[int] | None = None,
    tick: Fraction = Fraction(1, 1000),
    sound: str | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """A video of `frames` at the `stamps` (25 a second by default), with a tone as `sound` of that codec."""
    import av

    stamps = stamps or [round(i / 25 / tick) for i in range(len(frames))]
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=25, options=options or {"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream.codec_context.time_base = stream.time_base = tick
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=48000) if sound else None
        if tone is not None:
            tone.codec_context.layout = "stereo"
            tone.metadata["language"] = "deu"
        for pixels, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = stamp, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _write_tone(container, tone, float(stamps[-1] * tick) + 0.04)
    return path


def _write_tone(container, tone, seconds: float) -> None:
    import av

    size = tone.codec_context.frame_size or 1024
    for i in range(int(seconds * 48000 / size) + 1):
        wave = np.sin(2 * np.pi * 440 * (np.arange(size) + i * size) / 48000).astype(np.float32) * 0.3
        data = np.stack([wave, wave])
        layout = tone.codec_context.format.name
        if layout == "s16":
            data = (data * 32767).astype(np.int16).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), format=layout, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, i * size, Fraction(1, 48000)
        container.mux(tone.encode(frame))
    container.mux(tone.encode(None))


def stamps_of(path: Path) -> list[Fraction]:
    """When each frame of a video is shown, in seconds; every one of them is decoded."""
    import av

    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def frames_of(path: Path) -> list[np.ndarray]:
    """The decoded frames of a video, RGB uint8."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets_of(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    """Times and contents of the packets of the first track of that kind."""
    import av

    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]
