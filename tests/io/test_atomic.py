"""What every file that the program writes can rely on."""

import errno
import os
import stat
from pathlib import Path

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


# --- file systems that refuse things


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_permissions_and_syncs_that_are_not_supported_are_passed_over(tmp_path, monkeypatch, code):
    """As exFAT, SMB, FUSE and Drive do."""

    def refuse(*_args, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "chmod", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    atomic.write(tmp_path / "result.txt", "whole")
    assert (tmp_path / "result.txt").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_sync_that_fails_is_told(tmp_path, monkeypatch, code):
    (tmp_path / "result.txt").write_text("the old one")

    def fail(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"cannot write .*result\.txt: "):
        atomic.write(tmp_path / "result.txt", "the new one")
    assert (tmp_path / "result.txt").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]


@pytest.mark.parametrize("name", ["夜" * 83 + ".png", "n" * 251 + ".png", "é" * 125 + ".h5", "a." + "s" * 250])
def test_a_name_as_long_as_the_file_system_takes(tmp_path, name):
    assert len(os.fsencode(name)) <= 255
    atomic.check_target(tmp_path / name)
    atomic.write(tmp_path / name, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_a_killed_run_left_of_a_long_name_is_found(tmp_path):
    name = "夜" * 83 + ".png"
    with pytest.raises(KeyboardInterrupt), atomic.replacing(tmp_path / name) as temporary:
        kept = temporary.with_name(temporary.name)
        os.link(temporary, tmp_path / "copy")
        raise KeyboardInterrupt
    (tmp_path / "copy").rename(kept)
    atomic.remove_unfinished(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


# --- nothing is replaced unasked


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_during_the_work_stays(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_args):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    target = tmp_path / "result.txt"
    exists = pytest.raises(FileExistsError, match=r"result\.txt exists already$")
    with exists as caught, atomic.replacing(target, overwrite=False) as temporary:
        temporary.write_text("ours")
        target.write_text("theirs")
    assert "{overwrite}" in caught.value.hint
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("links", [True, False])
def test_without_such_a_file_the_result_takes_its_place(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_args):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    atomic.write(tmp_path / "result.txt", "ours", overwrite=False)
    assert (tmp_path / "result.txt").read_text() == "ours"
    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]
