"""A container's share of the processors is seen, in both kinds of control groups."""

import pytest

from nanostyle.backend import quota, threads
from nanostyle.backend.quota import granted_processors


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setattr(quota, "_ROOT", tmp_path)
    monkeypatch.setattr(quota, "_OWN", tmp_path / "own")
    return tmp_path


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("200000 100000", 2), ("250000 100000", 3), ("1000 100000", 1), ("max 100000", None), ("", None)],
)
def test_the_new_kind(groups, text, count):
    put(groups / "cpu.max", text)
    assert granted_processors() == count


def test_the_least_of_a_group_and_those_above_it(groups):
    put(groups / "own", "0::/a/b\n")
    put(groups / "a" / "b" / "cpu.max", "max 100000")
    put(groups / "a" / "cpu.max", "400000 100000")
    assert granted_processors() == 4


@pytest.mark.parametrize(("count", "granted"), [("150000", 2), ("-1", None)])
def test_the_old_kind(groups, count, granted):
    put(groups / "own", "12:memory:/x\n4:cpu,cpuacct:/docker/1\n0::/../y\n")
    put(groups / "cpu" / "cpu.cfs_quota_us", count)
    put(groups / "cpu" / "cpu.cfs_period_us", "100000")
    assert granted_processors() == granted


def test_threads_are_no_more_than_that(groups):
    put(groups / "cpu.max", "100000 100000")
    assert threads._processors() == 1
