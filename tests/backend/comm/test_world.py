"""Who works with this process, as launchers tell it; and a process alone."""

import os

import numpy as np
import pytest

from nanostyle.backend.comm import world as module
from nanostyle.backend.comm.launch import Launch, RanksLost, launch
from nanostyle.backend.comm.machine import GPUS, share_of_machine, take_gpu, threads_of
from nanostyle.backend.comm.tree import Block
from nanostyle.backend.comm.world import World, world
from tests.support.ranks import LAUNCHED


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*LAUNCHED, "NANOSTYLE_COMM", "NANOSTYLE_PATIENCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_world", None)


@pytest.mark.parametrize(
    "variables",
    [
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"},
        {"PMI_SIZE": "4", "PMI_RANK": "3"},
        {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"},
        {"PMI_SIZE": "1", "PMI_RANK": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"},
    ],
)
def test_a_launcher_is_seen(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch(4, 3)
    monkeypatch.setenv("NANOSTYLE_COMM", "none")
    assert launch() == Launch(1, 0)
    assert world().size == 1


@pytest.mark.parametrize(
    "variables", [{}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, {"PMI_SIZE": "1"}, {"PMI_SIZE": "many"}]
)
def test_one_process_is_alone(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch(1, 0)
    assert world() is world() and type(world()) is World


def test_alone_everything_is_what_it_was():
    here = World()
    assert (here.rank, here.size, here.is_first) == (0, 1, True)
    assert here.share(5) == 5 and here.gather(5) == [5] and here.first(lambda: 5) == 5
    total = here.total([Block(0, 2, np.ones(3, np.float32)), Block(2, 1, np.ones(3, np.float32))], 3)
    assert total.tolist() == [2, 2, 2]
    assert list(here.deal([1, 2], str)) == [(1, "1"), (2, "2")]
    assert [future.result() for future in here.in_order(str, [1, 2])] == ["1", "2"]
    assert here.meet(0)
    share = share_of_machine()
    assert share.ranks == 1 and share.threads == share.used >= 1


@pytest.mark.parametrize(("name", "text"), [("NANOSTYLE_COMM", "nccl"), ("NANOSTYLE_PATIENCE", "long")])
def test_a_wrong_word_is_refused(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=f"{name}: expected .*, got {text!r}"):
        world()


def test_what_rank_0_meets_all_meet_but_the_loss_of_the_others():
    class Two(World):
        size, told = 2, None

        def share(self, value):
            self.told = value
            return value

    here = Two()
    for error in (ValueError("bad"), KeyboardInterrupt("stopped")):
        with pytest.raises(type(error)):
            here.first(lambda error=error: (_ for _ in ()).throw(error))
        assert here.told == (None, error)
    here.told = None
    with pytest.raises(RanksLost):
        here.first(lambda: (_ for _ in ()).throw(RanksLost.after(5, 0, 2)))
    assert here.told is None


def test_who_has_been_asked_to_end_waits_ten_seconds():
    here = World()
    assert here.patience == 600
    here.hurry()
    assert here.patience == 10
    here.patience = 3
    here.hurry()
    assert here.patience == 3


def test_ranks_that_may_run_on_the_same_processors_divide_them():
    everything, half, other = set(range(16)), set(range(8)), set(range(8, 16))
    assert [threads_of(mask, [everything] * 3) for mask in [everything] * 3] == [5, 5, 5]
    assert [threads_of(mask, [half, other]) for mask in (half, other)] == [8, 8]
    assert threads_of({3}, [{3}, {3}]) == 1


@pytest.mark.parametrize(
    ("seen", "place", "left"), [(None, 2, "2"), ("4,5", 1, "5"), ("4,5", 2, ""), ("GPU-a", 0, "GPU-a")]
)
def test_a_rank_sees_one_gpu(monkeypatch, seen, place, left):
    monkeypatch.setenv(GPUS, seen or "")
    take_gpu(place)
    assert os.environ[GPUS] == left
