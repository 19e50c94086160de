"""Two programs share a folder of results without doing one twice."""

import os
import socket
import subprocess
import sys

import pytest

from nanostyle.io import claim
from nanostyle.io.claim import claimed, renew


def claim_of(folder):
    (claim,) = folder.glob(".nanostyle-claim-*")
    return claim


def test_a_claimed_result_is_another_programs(tmp_path):
    with (
        claimed(tmp_path / "a.png") as first,
        claimed(tmp_path / "a.png") as second,
        claimed(tmp_path / "b.png") as third,
    ):
        assert first is not None and second is None and third is not None
    assert list(tmp_path.iterdir()) == []


def test_a_claim_ends_with_an_error_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "a.png"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_killed_program_is_taken_over(tmp_path):
    code = "import os, sys; from pathlib import Path; from nanostyle.io.claim import claimed\n"
    code += "with claimed(Path(sys.argv[1])): os._exit(1)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], timeout=60)
    assert claim_of(tmp_path).exists()
    with claimed(tmp_path / "a.png") as claim:
        assert claim is not None


@pytest.mark.parametrize(("age", "free"), [(60, False), (7200, True)])
def test_the_claim_of_another_machine_ages(tmp_path, age, free):
    with claimed(tmp_path / "a.png") as claim:
        claim.write_text(f"{socket.gethostname()}-other 1")
        os.utime(claim, (claim.stat().st_mtime - age,) * 2)
        with claimed(tmp_path / "a.png") as second:
            assert (second is not None) == free


def test_work_that_goes_on_renews_its_claim(tmp_path):
    with claimed(tmp_path / "a.png") as claim:
        os.utime(claim, (0, 0))
        renew(claim)
        assert claim.stat().st_mtime > 1e9


def test_without_a_place_for_claims_the_work_is_done(tmp_path):
    with claimed(tmp_path / "nowhere" / "a.png") as claim:
        assert claim is not None


def test_of_two_that_take_over_one_does(tmp_path, monkeypatch):
    """Between the look and the takeover another program has taken it over: its claim stays."""
    with claimed(tmp_path / "a.png") as path:
        path.write_text("elsewhere 1")

        def other_was_quicker(path):
            path.unlink()
            path.write_text("other 2")
            os.utime(path, (1e9, 1e9))
            return True

        monkeypatch.setattr(claim, "_is_stale", other_was_quicker)
        with claimed(tmp_path / "a.png") as second:
            assert second is None
        assert [file.read_text() for file in tmp_path.iterdir()] == ["other 2"]
    assert claim_of(tmp_path).exists()  # it is the other's
