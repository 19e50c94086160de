"""Completion in bash, zsh and fish: the scripts, and what they offer."""

import shutil
import subprocess
import sys

import pytest

from tests.support.command import environment, run


def offered(*words, cwd):
    """What is offered for the last word."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    result = run(cwd=cwd, _NANOSTYLE_COMPLETE="bash_complete", **asked)
    assert result.returncode == 0 and result.stderr == ""
    return [line.partition(",")[2] for line in result.stdout.split()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(tmp_path, shell):
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("click asks bash for its version, and there is none")
    result = run(cwd=tmp_path, _NANOSTYLE_COMPLETE=f"{shell}_source")
    assert result.returncode == 0 and f"_NANOSTYLE_COMPLETE={shell}_complete" in result.stdout


def test_commands_options_and_choices(tmp_path):
    assert offered("nanostyle", "styl", cwd=tmp_path) == ["style-map", "styles", "stylize"]
    assert "weights" in offered("nanostyle", "", cwd=tmp_path)
    assert offered("nanostyle", "export", "--lay", cwd=tmp_path) == ["--layout"]
    assert offered("nanostyle", "export", "--layout", "", cwd=tmp_path) == ["nhwc", "nchw"]
    assert offered("nanostyle", "weights", "conv", cwd=tmp_path) == ["convert"]


def test_bash_itself_completes(tmp_path):
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    script = run(cwd=tmp_path, _NANOSTYLE_COMPLETE="bash_source").stdout
    (tmp_path / "nanostyle").write_text(f'#!/bin/sh\nexec {sys.executable} -m nanostyle "$@"\n')
    (tmp_path / "nanostyle").chmod(0o755)
    words = "COMP_WORDS=(nanostyle add); COMP_CWORD=1"
    ask = f"{words}; _nanostyle_completion {tmp_path}/nanostyle; echo ${{COMPREPLY[@]}}"
    command = ["bash", "--norc", "-c", f"{script}\n{ask}"]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "add-style", result.stderr
