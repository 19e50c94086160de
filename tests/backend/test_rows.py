"""Rows that are kept come back, wherever they lie, and leave nothing behind."""

import errno
import gc

import numpy as np
import pytest

from nanostyle.backend import rows as module
from nanostyle.backend.rows import ArrayRows, Kept, bands, combined, keeping, keeping_in, kept


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_kept_rows_come_back(memory, tmp_path):
    values = np.random.default_rng(0).random((11, 5, 3), np.float32)
    with keeping_in(tmp_path), keeping(memory):
        found = kept(ArrayRows(values))
        np.testing.assert_array_equal(found.read(0, 11), values)
        np.testing.assert_array_equal(found.read(3, 9), values[3:9])


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_bytes_stand_for_0_to_1(memory):
    values = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    with keeping(memory):
        found = Kept(values.shape, np.uint8)
        found.write(0, values)
        np.testing.assert_array_equal(found.read(1, 3), values[1:3].astype(np.float32) / np.float32(255))


def test_memory_and_files_are_used_again(tmp_path, monkeypatch):
    made = []
    new = module.tempfile.TemporaryFile
    monkeypatch.setattr(module.tempfile, "TemporaryFile", lambda **how: made.append(how["dir"]) or new(**how))
    with keeping_in(tmp_path), keeping(400):
        for _ in range(3):
            in_memory, in_file = Kept((10, 10, 1)), Kept((10, 10, 1))
            assert in_memory._file is None
            assert in_file._file is not None
            del in_memory, in_file
            gc.collect()
    assert made == [tmp_path]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_folder(tmp_path, monkeypatch):
    class Full:
        def seek(self, place):
            pass

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(module.tempfile, "TemporaryFile", lambda **how: Full())
    with (
        keeping_in(tmp_path),
        keeping(0),
        pytest.raises(OSError, match=f"in {tmp_path}: No space left on device; make room"),
    ):
        Kept((2, 2, 3)).write(0, np.zeros((2, 2, 3)))


def test_combined_rows_and_bands():
    one, two = np.float32([[[1, 2, 3]]] * 5), np.float32([[[4, 5, 6]]] * 5)
    assert combined(np.add, ArrayRows(one), ArrayRows(two)).read(1, 3).tolist() == [[[5, 7, 9]]] * 2
    assert list(bands(5, 3)) == [(0, 2), (2, 4), (4, 5)]
