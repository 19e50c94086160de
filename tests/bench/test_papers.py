"""The scripts that repeat a paper's experiments: where they look for data."""

import argparse
from pathlib import Path

import pytest

from bench.folders import from_data


def option():
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", **from_data("photos", "photos"))
    return parser


def test_data_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("NANOSTYLE_DATA", "/data")
    assert option().parse_args([]).photos == Path("/data/photos")
    assert option().parse_args(["--photos", "mine"]).photos == Path("mine")


def test_without_the_environment_the_option_is_required(monkeypatch, capsys):
    monkeypatch.delenv("NANOSTYLE_DATA", raising=False)
    with pytest.raises(SystemExit):
        option().parse_args([])
    assert "--photos" in capsys.readouterr().err
    assert option().parse_args(["--photos", "mine"]).photos == Path("mine")
