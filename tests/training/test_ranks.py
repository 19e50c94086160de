"""A training on several ranks: the same bytes as on one, and what happens when something goes wrong."""

import json
import os
import re
import signal

import pytest

from tests.support.paths import ROOT
from tests.support.ranks import CIN, SMALL, SOON, ended, folder_for, mpiexec, ours, pid_of, run, start, start_each
from tests.support.ranks import wait_for_steps as wait

FAULTS = (str(ROOT / "tests" / "support" / "rank_faults.py"),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    mpiexec()
    return folder_for(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def finished(folder):
    """The model of a process alone."""
    status, lines, _ = run(0, *CIN, "-o", "alone.h5", cwd=folder)
    assert status == 0, lines
    return folder / "alone.h5"


def start_late(ranks, *words, cwd, **env):
    """Start ranks whose training takes some seconds."""
    return start_each([(ranks, ["late", *words])], cwd=cwd, program=FAULTS, **env)


def left(output):
    """The bytes of model and checkpoint."""
    return [path.read_bytes() for path in (output, output.with_suffix(".training") / "checkpoint.h5")]


def log(output):
    text = (output.with_suffix(".training") / "log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


# --- the same bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 3])
def test_any_number_of_ranks_gives_the_same_bytes(folder, finished, ranks):
    output = folder / f"of{ranks}.h5"
    status, lines, _ = run(ranks, *CIN, "-o", output.name, cwd=folder)
    assert status == 0, lines
    assert left(output) == left(finished)
    assert sum("report: " in line for line in lines) == 1  # rank 0 alone talks
    assert [record["step"] for record in log(output) if "loss" in record] == list(range(1, 7))


@pytest.mark.parametrize(
    "kind",
    [
        "train --mode predict --backbone conv --styles paintings --ema 0.9",
        "train --mode feedforward --norm batch --styles paintings/00.png",
        "add-style alone.h5 photos/04.png photos/05.png",
    ],
)
def test_so_do_other_kinds_of_training(folder, finished, kind):
    words = [*kind.split(), *(word for word in SMALL if kind.startswith("train") or "width" not in word)]
    outputs = [folder / f"{kind.split()[2][:5].strip('.')}{ranks}.h5" for ranks in (0, 2)]
    for ranks, output in zip((0, 2), outputs, strict=True):
        status, lines, _ = run(ranks, *words, "--quiet", "-o", output.name, cwd=folder)
        assert (status, lines) == (0, [])
    assert left(outputs[0]) == left(outputs[1])


def test_roll_backs_are_the_same_on_all_ranks(folder):
    outputs = [folder / f"nan{ranks}.h5" for ranks in (0, 3)]
    for ranks, output in zip((0, 3), outputs, strict=True):
        process = start_each([(ranks, ["nan", *CIN, "-o", output.name])], cwd=folder, program=FAULTS)
        status, lines, _ = ended(process)
        assert status == 0, lines
    assert left(outputs[0]) == left(outputs[1])
    events = [[record for record in log(output) if "event" in record] for output in outputs]
    assert events[0] == events[1] and "back to step 4, half the rate" in events[0][0]["event"]


def test_weights_that_differ_become_those_of_rank_0(folder, finished):
    process = start_each([(2, ["bit", *CIN, "-o", "bit.h5"])], cwd=folder, program=FAULTS)
    status, lines, _ = ended(process)
    assert status == 0, lines
    assert left(folder / "bit.h5") == left(finished)
    assert [r for r in log(folder / "bit.h5") if "event" in r] == [
        {"step": 6, "event": "the weights of the ranks differed: those of rank 0 are taken"}
    ]


# --- ends and goes on ---------------------------------------------------------------------------------------------


def test_a_rank_is_killed_and_fewer_go_on(folder, finished):
    output = folder / "killed.h5"
    process = start_late(4, *CIN, "-o", output.name, cwd=folder)
    wait(process, folder / "killed.training" / "log.jsonl", 3)
    os.kill(pid_of(process, 2), signal.SIGKILL)
    status, _, seconds = ended(process)
    assert status != 0 and seconds < SOON
    status, lines, _ = run(3, *CIN, "-o", output.name, "--resume", cwd=folder)
    assert status == 0, lines
    assert left(output) == left(finished)


@pytest.mark.parametrize("whom", ["mpiexec", "a rank"])
def test_an_interrupt_saves_the_last_whole_step(folder, finished, whom):
    output = folder / f"{whom.replace(' ', '')}.h5"
    process = start_late(2, *CIN, "-o", output.name, cwd=folder)
    wait(process, output.with_suffix(".training") / "log.jsonl", 3)
    if whom == "mpiexec":
        process.send_signal(signal.SIGINT)
    else:
        os.kill(pid_of(process, 1), signal.SIGTERM)
    status, lines, seconds = ended(process)
    step = max(record["step"] for record in log(output))
    assert (status, seconds < SOON) == (130, True)
    assert ours(lines) == [f"Interrupted: training stopped after step {step}; the same command with --resume goes on"]
    status, lines, _ = run(0, *CIN, "-o", output.name, "--resume", cwd=folder)
    assert status == 0, lines
    assert left(output) == left(finished)


def test_a_rank_that_hangs_is_not_waited_for_for_ever(folder):
    process = start_late(2, *CIN, "-o", "hangs.h5", cwd=folder, NANOSTYLE_PATIENCE="5")
    wait(process, folder / "hangs.training" / "log.jsonl", 3)
    os.kill(pid_of(process, 1), signal.SIGSTOP)
    status, lines, seconds = ended(process)
    assert status == 1 and seconds < SOON
    assert ours(lines) == [
        "Error: rank 0 of 2 has waited 5 s for the others, one of which has died, hangs or is far too slow;"
        " --resume or --skip-existing goes on"
    ]


def test_an_exception_on_one_rank_ends_all(folder):
    process = start_each([(3, ["fault", *CIN, "-o", "fault.h5"])], cwd=folder, program=FAULTS)
    wait(process, folder / "fault.training" / "log.jsonl", 3)
    status, lines, seconds = ended(process)
    assert status == 1 and seconds < SOON
    assert ours(lines) == [
        "rank 1: Error: internal fault: RuntimeError: planted; run again with --debug for the details"
    ]


def test_the_log_names_a_slow_rank(folder):
    words = ["slow", *CIN, "--steps", "2", "-o", "slow.h5"]
    status, lines, _ = ended(start_each([(3, words)], cwd=folder, program=FAULTS))
    assert status == 0, lines
    (event,) = [record["event"] for record in log(folder / "slow.h5") if "event" in record]
    assert re.fullmatch(r"rank 1 computes [0-9.]+ times as long as the median rank", event)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "words", "line"),
    [
        (
            2,
            ["--batch", "6"],
            "batch: 6 photos cannot be cut into 4 equal shards; use a --batch that 4 divides, or other --shards",
        ),
        (
            5,
            [],
            "shards: 4 of a batch are too few for 5 ranks; use fewer ranks, or begin anew with more --shards",
        ),
        (
            2,
            ["--shards", "2", "--resume"],
            "cannot resume: shards was 4 in alone.training/checkpoint.h5 and is 2 now;"
            " give the options of the first run, or begin anew with another --output",
        ),
        (2, ["--lr", "nonsense"], "Invalid value for '--lr': 'nonsense' is not a valid float."),
    ],
)
def test_bad_input_is_one_line_and_no_fuss_of_the_launcher(folder, finished, ranks, words, line):
    output = "alone.h5" if "--resume" in words else "bad.h5"
    status, lines, _ = run(ranks, *CIN, *words, "-o", output, cwd=folder)
    assert (status, lines) == (2, [f"Error: {line}"])
    assert not (folder / "bad.training").exists()


def test_batch_norm_needs_two_photos_in_a_shard(folder):
    words = ["train", "--mode", "feedforward", "--norm", "batch", "--styles", "paintings/00.png", *SMALL]
    status, lines, _ = run(0, *words, "--shards", "8", "-o", "bad.h5", cwd=folder)
    assert status == 2
    assert lines[-1] == (
        "Error: shards: batch norm needs 2 photos or more in each, got 1; use a larger --batch or fewer --shards"
    )


def test_every_rank_needs_the_same_command_and_the_same_photos(folder):
    process = start_each([(1, [*CIN, "-o", "bad.h5"]), (1, [*CIN, "--lr", "0.002", "-o", "bad.h5"])], cwd=folder)
    status, lines, _ = ended(process)
    assert (status, lines) == (
        2,
        ["Error: rank 1 has another lr than rank 0 (0.002 and 0.001); give every process the same command"],
    )
    other = ["--content", "paintings", "-o", "bad.h5"]
    status, lines, _ = ended(start_each([(1, [*CIN, "-o", "bad.h5"]), (1, [*CIN, *other])], cwd=folder))
    assert (status, lines) == (
        2,
        ["Error: rank 1 has other photos than rank 0 (2 and 6); every machine needs the same folders"],
    )


def test_ranks_need_a_gpu_each(folder):
    process = start_each([(2, ["gpu", *CIN, "--device", "cuda", "-o", "bad.h5"])], cwd=folder, program=FAULTS)
    status, lines, _ = ended(process)
    line = "Error: device: 1 of 2 ranks find a GPU of their own; use one rank a GPU, or --device cpu"
    assert (status, lines) == (2, [line])


def test_the_launcher_of_another_mpi_is_refused(folder):
    status, lines, _ = run(0, *CIN, "-o", "bad.h5", cwd=folder, OMPI_COMM_WORLD_SIZE="4")
    assert status == 2 and len(lines) == 1
    assert lines[0].startswith("Error: started as one of 4 processes, but MPICH ")
    assert lines[0].endswith("sees 1: mpiexec is of another MPI; use the mpiexec of the same one")


def test_without_mpi_a_launcher_is_refused(folder):
    (folder / "none").mkdir(exist_ok=True)
    (folder / "none" / "mpi4py.py").write_text("raise ImportError(\"No module named 'mpi4py'\")\n")
    path = os.pathsep.join([str(folder / "none"), str(ROOT)])
    for rank, said in ((0, 1), (1, 0)):
        variables = {"PMI_SIZE": "4", "PMI_RANK": str(rank), "PYTHONPATH": path}
        status, lines, _ = run(0, *CIN, "-o", "bad.h5", cwd=folder, **variables)
        assert status == 2
        assert (
            lines
            == [
                "Error: started as one of 4 processes, but MPI cannot be used: No module named 'mpi4py';"
                " pip install 'nanostyle[mpi]' brings it; or start one process"
            ]
            * said
        )


def test_other_commands_are_done_once(folder, finished):
    process = start(2, "styles", "alone.h5", cwd=folder)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and told.split() == ["photo", "00", "01"]
