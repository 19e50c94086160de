"""Results stay where they are, follow the picture, and begin anew at cuts."""

from itertools import pairwise

import numpy as np
import pytest

from nanostyle.methods.agreement import whole_shift
from nanostyle.methods.temporal import CARRIED, Memory, Stabilizer
from nanostyle.models.shift import Shift
from tests.support.clips import panned

av = pytest.importorskip("av", reason="PyAV is not installed")


def moving(frames):
    """Frames with their motion, as a video has them."""
    from nanostyle.io.video.clip import Frame
    from nanostyle.io.video.motion import tracked

    size = frames[0].shape[:2]
    made = (Frame(frame, i, 1) for i, frame in enumerate(frames))
    return [(frame.pixels, vectors) for frame, vectors in tracked(made, size=size, part=100, scale=2)]


class Noisy:
    """Paints a frame with noise that is new every time."""

    def __init__(self, deviation=0.1):
        self.rng, self.deviation, self.shifts = np.random.default_rng(0), deviation, []

    def __call__(self, pixels, shift):
        self.shifts.append(shift)
        return np.clip(pixels * 0.6 + 0.2 + self.rng.normal(0, self.deviation, pixels.shape), 0, 1).astype(np.float32)


def test_off_paints_each_frame_by_itself():
    frames, seen = panned(3), []
    stabilizer = Stabilizer("off")
    for frame in frames:
        made = stabilizer.paint(frame, lambda pixels, shift: seen.append(shift) or 1 - pixels)
        np.testing.assert_array_equal(made, 255 - frame)
    assert seen == [Shift()] * 3 and stabilizer.memory is None


@pytest.mark.parametrize("with_vectors", [True, False])
@pytest.mark.parametrize("step", [1, 3, 6])
def test_the_shift_is_that_of_the_pan(step, with_vectors):
    stabilizer, paint = Stabilizer("lock"), Noisy(0)
    for frame, vectors in moving(panned(4, 96, 128, step)):
        stabilizer.paint(frame, paint, vectors if with_vectors else None)
    assert [shift.whole for shift in paint.shifts] == [(0, step * i) for i in range(4)]


@pytest.mark.parametrize("with_vectors", [True, False])
@pytest.mark.parametrize("step", [0, 2])
def test_noise_is_calmed(step, with_vectors):
    results = {}
    for stability in ("lock", "on"):
        stabilizer, paint = Stabilizer(stability), Noisy()
        made = [stabilizer.paint(f, paint, v if with_vectors else None) for f, v in moving(panned(6, 96, 128, step))]
        aligned = [
            (b[20:-20, 20:-26].astype(float), a[20:-20, 20 + step : -26 + step or None]) for a, b in pairwise(made)
        ]
        results[stability] = np.mean([np.sqrt(np.mean((b - a) ** 2)) for b, a in aligned[2:]])
    assert results["on"] < 0.45 * results["lock"], results


def test_a_cut_begins_anew_to_the_bit():
    frames = panned(2) + [frame[::-1].copy() for frame in panned(2, 48, 64, 2)]
    stabilizer, alone = Stabilizer("on"), Stabilizer("off")
    cuts = []
    for i, (frame, vectors) in enumerate(moving(frames)):
        made = stabilizer.paint(frame, lambda pixels, shift: 1 - pixels, vectors)
        cuts.append(stabilizer.flicker is None)
        if i == 2:
            np.testing.assert_array_equal(made, alone.paint(frame, lambda pixels, shift: 1 - pixels))
            assert stabilizer.memory.shift == (0, 0)
    assert cuts == [True, False, True, False]


def test_colors_do_not_lag_behind_a_change_of_light():
    scene = panned(1, 96, 128)[0]
    frames = [np.clip(scene * light, 0, 255).astype(np.uint8) for light in np.linspace(0.7, 1, 10)]
    stabilizer, paint = Stabilizer("on"), Noisy()
    for frame, vectors in moving(frames):
        made = stabilizer.paint(frame, paint, vectors)
    assert stabilizer.flicker is not None  # the old painting was blended in
    lag = made.mean(axis=(0, 1)) - (frames[-1] * 0.6 + 0.2 * 255).mean(axis=(0, 1))
    assert np.abs(lag).max() < 3, lag  # 10 if colors were not mended; `blend._STILL` is left


def test_what_appears_is_not_covered_by_what_was_there():
    ground = np.full((64, 96, 3), 90, np.uint8)
    first = ground.copy()
    first[20:44, 20:44] = 220
    second = ground.copy()
    second[20:44, 60:84] = 220
    stabilizer = Stabilizer("on")
    for frame, vectors in moving([first, second]):
        made = stabilizer.paint(frame, lambda pixels, shift: pixels, vectors)
    assert np.abs(made.astype(int) - second).max() <= 8


def test_a_change_of_size_is_a_cut():
    stabilizer = Stabilizer("on")
    stabilizer.paint(panned(1)[0], Noisy())
    stabilizer.paint(panned(1, 40, 72)[0], Noisy())
    assert stabilizer.flicker is None


def painted_of(stabilizer, frames, paint=None):
    """For each frame whether it was painted, and what came of it."""
    paint = paint or Noisy()
    told, results = [], []
    for frame, vectors in moving(frames):
        before = len(paint.shifts)
        results.append(stabilizer.paint(frame, paint, vectors))
        told.append(len(paint.shifts) > before)
    return told, results


def test_a_frame_that_shows_nothing_new_is_not_painted_but_moved():
    frames = panned(8, 96, 256, 1)
    told, results = painted_of(Stabilizer("on"), frames)
    assert told == [k % (CARRIED + 1) == 0 for k in range(8)]
    for k in (1, 2):
        assert (results[k][:, :-1] == results[k - 1][:, 1:]).mean() > 0.9  # but for blocks that were matched otherwise
    for stability in ("lock", "high"):
        assert all(painted_of(Stabilizer(stability), frames)[0])
    assert all(painted_of(Stabilizer("on", carries=False), frames)[0])


GROUND = panned(1, 192, 256)[0]


def with_square(k, side=48, step=6, value=220):
    """Ground that stands still, and a square that moves over it."""
    frame = GROUND.copy()
    frame[60 : 60 + side, 20 + step * k : 20 + side + step * k] = value
    return frame


def faded(k, by, bars=0):
    """Ground that grows darker, between black bars."""
    frame = np.clip(GROUND - by * k, 0, 255).astype(np.uint8)
    frame[:bars] = frame[192 - bars :] = 0
    return frame


def noisy(k):
    noise = np.random.default_rng(k).normal(0, 15, (192, 128, 1))
    frame = GROUND.copy()
    frame[:, :128] = np.clip(frame[:, :128] + noise, 0, 255)
    return frame


@pytest.mark.parametrize(
    "frames",
    [
        [with_square(k) for k in range(6)],
        [with_square(k, side=6, step=8) for k in range(6)],
        [with_square(0, value=60 + 30 * (k % 2)) for k in range(6)],
        [faded(k, 12.0) for k in range(6)],
        [faded(k, 2.0) for k in range(6)],
        [faded(k, 2.0, bars=48) for k in range(6)],
        [noisy(k) for k in range(6)],
        panned(6, 192, 256, 6),
    ],
    ids=["an object", "a pointer", "a part blinks", "a fade", "a slow fade", "between bars", "rain", "a quick pan"],
)
def test_a_frame_that_shows_something_new_is_painted(frames):
    assert all(painted_of(Stabilizer("on"), frames)[0])


def test_a_slow_change_is_not_carried_for_long():
    # From one frame to the next nobody would call it new.
    frames = [faded(k, 0.7) for k in range(12)]
    told, results = painted_of(Stabilizer("on"), frames, Noisy(0))
    assert sum(told) >= 6
    lag = [np.abs(made.mean() - (frame * 0.6 + 0.2 * 255).mean()) for made, frame in zip(results, frames, strict=True)]
    assert max(lag) < 3


def test_what_is_shown_for_long_is_painted():
    for seconds, pattern in ((0.04, [1, 0, 0, 1]), (0.1, [1, 0, 1, 0]), (0.5, [1, 1, 1, 1])):
        stabilizer = Stabilizer("on")
        planned = [stabilizer.plan(GROUND, seconds=seconds) for _ in range(4)]
        assert [not one.is_carried for one in planned] == pattern


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("goes", [False, True], ids=["comes", "goes"])
def test_what_changed_while_frames_were_carried_is_seen_when_one_is_painted(at, goes):
    # Of the smallest things, which do not make a frame new.
    there = GROUND.copy()
    there[90:93, 100:106] = np.where(GROUND[90:93, 100:106] > 127, 90, 165)
    frames = [there if (k >= at) != goes else GROUND for k in range(8)]
    stabilizer, alone = Stabilizer("on"), Stabilizer("off")
    for k, frame in enumerate(frames):
        planned = stabilizer.plan(frame)
        made = stabilizer.finish(planned, None if planned.is_carried else planned.render(lambda p, shift: p))
        wanted = alone.paint(frame, lambda p, shift: p)
        if not planned.is_carried:
            error = made[90:93, 100:106].astype(float) - wanted[90:93, 100:106]
            assert np.abs(error).mean() < 12, k


def test_after_a_pass_that_failed_all_goes_on():
    def fails(pixels, shift):
        raise MemoryError

    for first in ([], [GROUND], [GROUND[::-1].copy()], [GROUND[:96]]):
        stabilizer, alone = Stabilizer("on"), Stabilizer("off")
        for frame in first:
            stabilizer.paint(frame, lambda pixels, shift: pixels)
        with pytest.raises(MemoryError):
            stabilizer.paint(with_square(0), fails)
        for k in (0, 1, 2):
            made = stabilizer.paint(with_square(k), lambda pixels, shift: pixels)
            wanted = alone.paint(with_square(k), lambda pixels, shift: pixels)
            assert np.abs(made.astype(int) - wanted).mean() < 2


def test_what_was_carried_is_known_where_a_run_goes_on():
    frames = moving(panned(7, 96, 256, 1))
    whole = Stabilizer("on")
    results = [whole.paint(frame, lambda pixels, shift: 1 - pixels, vectors) for frame, vectors in frames]
    for stop in range(1, 7):
        first = Stabilizer("on")
        for frame, vectors in frames[:stop]:
            first.paint(frame, lambda pixels, shift: 1 - pixels, vectors)
        memory = first.memory
        rest = Stabilizer("on", Memory(memory.frame, memory.result, memory.pictured, memory.shift, memory.carried))
        for k, (frame, vectors) in enumerate(frames[stop:], stop):
            made = rest.paint(frame, lambda pixels, shift: 1 - pixels, vectors)
            np.testing.assert_array_equal(made, results[k])


def test_only_a_carried_frame_needs_no_painting():
    stabilizer = Stabilizer("on")
    with pytest.raises(ValueError, match="expected a painted frame, got none"):
        stabilizer.finish(stabilizer.plan(panned(1)[0]), None)


def test_whole_shift_in_both_directions():
    scene = np.random.default_rng(1).random((90, 110)).astype(np.float32)
    assert whole_shift(scene[20:70, 20:80], scene[13:63, 29:89]) == (-7, 9)
    flat = np.zeros((40, 40), np.float32)
    assert whole_shift(flat, flat) == (0, 0)
