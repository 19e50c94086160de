"""Every command of the README runs as it stands, with fewer steps (through the environment, as any user could)."""

import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests.support.clips import panned, write_video
from tests.support.command import environment
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]

# The same commands, less work.
QUICK = {
    "NANOSTYLE_STYLIZE_ITERATIONS": "2",
    "NANOSTYLE_STYLIZE_SIZE": "64",
    **{
        f"NANOSTYLE_{command}_{option}": value
        for command in ("TRAIN", "ADD_STYLE")
        for option, value in {"BATCH": "1", "PREVIEW_EVERY": "100"}.items()
    },
}


def write_gif(path):
    first, *rest = (Image.fromarray(frame) for frame in panned(3))
    first.save(path, save_all=True, append_images=rest)


def test_the_commands_of_the_readme(tmp_path):
    """In one folder, in order: what one command writes the next one reads."""
    pytest.importorskip("av", reason="PyAV is not installed")
    few = {"photo.jpg", "painting.jpg", "gallery.jpg", "mask.png"}
    shutil.copytree(
        ROOT / "docs" / "pictures",
        tmp_path / "docs" / "pictures",
        ignore=lambda folder, names: set(names) - few,
    )
    write_video(tmp_path / "holiday.mp4", panned(3), sound="aac")
    write_gif(tmp_path / "cat.gif")
    (tmp_path / "frames").mkdir()
    for i, frame in enumerate(panned(3), 1):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{i:05d}.png")
    ran = 0
    for line in COMMANDS:
        command = line.rpartition("&& ")[2]
        if not command.startswith("nanostyle "):
            continue
        # Two steps are enough to see that training works.
        command = re.sub(r"--steps \d+", "--steps 2 --size 64", command)
        words = [sys.executable, "-m", *command.split()]
        result = subprocess.run(
            words, cwd=tmp_path, env=environment(**QUICK), capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        written = re.findall(r"-o (\S+)", command)
        assert all((tmp_path / name).stat().st_size for name in written), line
        ran += 1
    assert ran >= 12


def test_the_python_of_the_readme(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    write_gif(tmp_path / "cat.gif")
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "starry.png").stat().st_size and (tmp_path / "painted.webp").stat().st_size


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("pip ")])
def test_ci_runs_the_commands_that_install(command):
    ci = (ROOT / ".ci" / "run").read_text()
    install, _, then = command.partition(" && ")
    assert then.split()[0] in ci
    if ".[test]" in install:
        assert 'pip install --quiet -e ".[test]"' in ci and "\npytest " in ci


@pytest.mark.parametrize("module", sorted(set(re.findall(r"\bbench(?:\.\w+)+", README))))
def test_the_measurements_start(module):
    pytest.importorskip("torch")
    words = [sys.executable, "-m", module, "--help"]
    result = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert module in result.stdout


def test_pictures_and_files_that_it_names_exist():
    for name in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / name).exists(), name
