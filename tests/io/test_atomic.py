"""What every file that the program writes can rely on."""

import os
import stat

import pytest

from nanostyle.io import atomic


def test_a_link_stays_a_link(tmp_path):
    there, link = tmp_path / "folder" / "there.txt", tmp_path / "link.txt"
    there.parent.mkdir()
    there.write_text("old")
    link.symlink_to(there)
    atomic.write(link, "new")
    assert link.is_symlink() and there.read_text() == "new"
    assert [f.name for f in there.parent.iterdir()] == ["there.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_what_is_no_file_is_left_alone(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for attempt in (atomic.check_target, lambda path, overwrite: atomic.write(path, b"")):
        with pytest.raises(OSError, match=r"cannot write .*pipe: it is a device or a pipe"):
            attempt(pipe, overwrite=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and list(tmp_path.iterdir()) == [pipe]


def test_only_what_was_left_unfinished_is_removed(tmp_path):
    def killed(path):
        with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as temporary:
            os.link(temporary, path.with_name("left"))
            name = temporary.name
            raise KeyboardInterrupt
        return path.with_name("left").rename(path.with_name(name))

    own, other, longer = (killed(tmp_path / name) for name in ("a.h5", "b.h5", "a.b.h5"))
    kept = [tmp_path / name for name in (".a.copy.h5", ".git", "a.h5")]
    for path in kept:
        path.mkdir() if path.suffix == "" else path.write_text("mine")
    atomic.remove_unfinished(tmp_path, "a.h5")
    assert not own.exists() and other.exists() and longer.exists() and all(path.exists() for path in kept)
    atomic.remove_unfinished(tmp_path)
    assert not other.exists() and not longer.exists() and all(path.exists() for path in kept)


def test_names_that_are_no_text_are_written(tmp_path):
    atomic.write(tmp_path / "a.txt", "caf\udce9 ü")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\\udce9 ü"
