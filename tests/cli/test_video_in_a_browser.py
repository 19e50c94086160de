"""What is written plays in chromium, upright and as long as it is."""

import pytest
from click.testing import CliRunner

from nanostyle.cli import command
from tests.support.browser import browser, page
from tests.support.clips import panned, write_video

pytest.importorskip("av", reason="PyAV is not installed")


@pytest.mark.browser
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_result_plays(tmp_path, suffix):
    source, target = tmp_path / "a.mkv", tmp_path / f"out{suffix}"
    write_video(source, panned(20), sound="aac")
    result = CliRunner().invoke(command, ["video", str(source), "--style", "scream_munch", "-o", str(target)])
    assert result.exit_code == 0, result.output
    (tmp_path / "page.html").write_text(f"<video src='{target.name}' muted></video>")
    with browser() as running, page(running, (tmp_path / "page.html").as_uri()) as opened:
        opened.wait_for_function("document.querySelector('video').readyState == 4")
        video = opened.evaluate("(v => [v.duration, v.videoWidth, v.videoHeight])(document.querySelector('video'))")
    # Sound ends with a whole packet, which is up to 1024 samples longer than the pictures.
    assert video[1:] == [64, 48] and 0.79 < video[0] < 0.85
