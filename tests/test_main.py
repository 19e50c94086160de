"""The command starts anywhere: without streams, without a home, in any encoding."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nanostyle.models import registry
from tests.support.command import environment
from tests.support.paths import ROOT

PHOTO = ROOT / "docs" / "pictures" / "photo.jpg"
INFO = f"{sys.executable} -m nanostyle styles"


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-", ">&- 2>&- <&-"])
def test_streams_may_be_missing(tmp_path, closed):
    done = subprocess.run(f"{INFO} {closed}", shell=True, env=environment(), cwd=tmp_path, timeout=120)
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_what_cannot_be_told_costs_no_work(tmp_path):
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "nanostyle", "styles", "--sheet", str(PHOTO), "--size", "8", "-o", "sheet.png"]
        done = subprocess.run(words, stderr=full, env=environment(), cwd=tmp_path, timeout=240)
    assert (done.returncode, (tmp_path / "sheet.png").exists()) == (0, True)
    told = subprocess.run([*words[:3], "no-command"], stderr=subprocess.PIPE, env=environment(), cwd=tmp_path)
    assert told.stderr == b"Error: No such command 'no-command'.\n"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_a_stream_has_not_is_escaped(encoding):
    code = "from nanostyle.__main__ import _make_streams; _make_streams(); print('夜 ü')"
    env = {**environment(), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=60, check=True)
    assert done.stdout.startswith(rb"\u591c")


def test_a_user_without_a_home_has_a_cache_too(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert registry.cache_folder() == Path(tempfile.gettempdir()) / "nanostyle"


def loaded_by(*arguments):
    """The modules that a command has loaded when it ends."""
    code = f"import sys; sys.argv[1:] = {list(arguments)!r}\nfrom nanostyle.__main__ import main\n"
    code += "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_the_help_loads_no_numpy():
    assert not {"numpy", "h5py", "PIL"} & loaded_by("--help")


def test_a_command_loads_nothing_of_the_other_commands(tmp_path):
    photo = Path(__file__).parent.parent / "docs" / "pictures" / "photo.jpg"
    out = tmp_path / "out.jpg"
    found = loaded_by("stylize", str(photo), "--style", "scream_munch", "--size", "64", "--quiet", "-o", str(out))
    assert out.exists()
    rooms = ("nanostyle.training.loop", "nanostyle.export", "nanostyle.server", "nanostyle.diagnostics", "http.client")
    assert not {name for name in found if name.startswith(rooms)}
