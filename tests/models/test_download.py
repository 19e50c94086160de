import hashlib
import http.server
import json
import re
import threading

import numpy as np
import pytest

from nanostyle.models import download
from nanostyle.models.download import ORIGINS, fetch
from nanostyle.models.loss_network import load_features


def safetensors(seed):
    """The first convolution of a VGG, as torchvision names it, in a file of about 7 KB."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.standard_normal((64, 3, 3, 3), np.float32), rng.standard_normal(64, np.float32)
    header = {
        "features.0.weight": {"dtype": "F32", "shape": [64, 3, 3, 3], "data_offsets": [0, weight.nbytes]},
        "features.0.bias": {"dtype": "F32", "shape": [64], "data_offsets": [weight.nbytes, weight.nbytes + 256]},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + weight.tobytes() + bias.tobytes()


BODY = safetensors(0)


class Server(http.server.ThreadingHTTPServer):
    """Serves `body`; the switches make it behave as badly as servers do."""

    body = BODY
    tag: str | None = '"one"'
    ranges = True
    send: int | None = None  # cut the connection after so many bytes
    status: int | None = None
    content_range: str | None = None


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if server.status:
            return self.send_error(server.status)
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and server.ranges and self.headers.get("If-Range") == server.tag:
            start = int(asked[1])
        size = len(server.body)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", server.content_range or f"bytes {start}-{size - 1}/{size}")
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        end = size if server.send is None else start + server.send
        self.wfile.write(server.body[start:end])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "vgg16.h5"


def run(server, target, body=BODY, digest=None):
    url = f"http://127.0.0.1:{server.server_port}/models/vgg16.safetensors"
    return list(fetch("vgg16", target, url=url, sha256=digest or hashlib.sha256(body).hexdigest()))


def cut_download(server, target, after=3000):
    server.send = after
    with pytest.raises(OSError, match=f"the connection ended after {after} of {len(BODY)} bytes; try again"):
        run(server, target)
    server.send = None
    assert not target.exists()
    assert len(target.with_name("vgg16.h5.part").read_bytes()) == after


def files(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_download_is_converted_and_leaves_nothing_else(server, target, monkeypatch):
    monkeypatch.setattr(download, "_BLOCK", 1000)
    steps = run(server, target)
    done = [step.done for step in steps]
    assert done == sorted(done) and done[-1] == len(BODY) and len(done) > 5
    assert {step.total for step in steps} == {len(BODY)}
    assert files(target) == ["vgg16.h5"]
    weights = load_features(target)
    assert weights.source.startswith("http://127.0.0.1")
    np.testing.assert_array_equal(weights.parameters["conv1_1/bias"], np.frombuffer(BODY[-256:], np.float32))


def test_a_cut_download_goes_on(server, target):
    cut_download(server, target)
    steps = run(server, target)
    assert steps[0].done == 3000
    assert steps[-1].done == len(BODY)
    assert server.requests[-1]["Range"] == "bytes=3000-"
    assert server.requests[-1]["If-Range"] == '"one"'
    assert files(target) == ["vgg16.h5"]


def test_a_server_that_knows_no_ranges_sends_it_all_again(server, target):
    cut_download(server, target)
    server.ranges = False
    assert run(server, target)[0].done == 0
    assert files(target) == ["vgg16.h5"]


def test_a_file_that_changed_between_is_had_from_the_start(server, target):
    cut_download(server, target)
    server.body, server.tag = safetensors(1), '"two"'
    assert run(server, target, server.body)[0].done == 0
    assert files(target) == ["vgg16.h5"]


def test_without_a_version_nothing_is_built_upon(server, target):
    server.tag = None
    cut_download(server, target)
    run(server, target)
    assert "Range" not in server.requests[-1]


def test_all_bytes_were_here_already(server, target):
    cut_download(server, target, after=len(BODY) - 1)
    with target.with_name("vgg16.h5.part").open("ab") as part:
        part.write(BODY[-1:])
    assert run(server, target) == []
    assert files(target) == ["vgg16.h5"]


def test_more_is_here_than_the_server_has(server, target):
    cut_download(server, target)
    with target.with_name("vgg16.h5.part").open("ab") as part:
        part.write(bytes(20_000))
    assert run(server, target)[0].done == 0
    assert files(target) == ["vgg16.h5"]


def test_another_part_than_was_asked_for(server, target):
    cut_download(server, target)
    server.content_range = f"bytes 5-{len(BODY) - 1}/{len(BODY)}"
    with pytest.raises(OSError, match="another part than was asked for"):
        run(server, target)
    server.content_range = None
    run(server, target)
    assert files(target) == ["vgg16.h5"]


def test_a_wrong_digest(server, target):
    target.parent.mkdir()
    target.write_bytes(b"the old one")
    with pytest.raises(ValueError, match=f"has the SHA-256 {hashlib.sha256(BODY).hexdigest()}, must be 00"):
        run(server, target, digest="0" * 64)
    assert target.read_bytes() == b"the old one"
    assert files(target) == ["vgg16.h5"]


def test_without_a_digest_given_the_published_one_is_asked_for(server, target):
    with pytest.raises(ValueError, match=ORIGINS["vgg16"].sha256):
        list(fetch("vgg16", target, url=f"http://127.0.0.1:{server.server_port}/x"))


def test_a_server_without_end(server, target, monkeypatch):
    monkeypatch.setattr(download, "_MAX_BYTES", 1000)
    with pytest.raises(OSError, match="sends more than"):
        run(server, target)


@pytest.mark.parametrize("status", [404, 500])
def test_an_error_of_the_server(server, target, status):
    server.status = status
    with pytest.raises(OSError, match=f"HTTP Error {status}") as caught:
        run(server, target)
    assert str(caught.value).endswith(f"nanostyle weights convert vgg16.safetensors {target}")
    assert "\n" not in str(caught.value)


def test_no_network(server, target):
    port = server.server_port
    server.server_close()
    with pytest.raises(OSError, match=r"cannot fetch .* download it in a browser, then: nanostyle weights convert"):
        list(fetch("vgg16", target, url=f"http://127.0.0.1:{port}/vgg16.pth"))


def test_what_cannot_be_fetched(tmp_path):
    with pytest.raises(
        ValueError, match="nothing to fetch for 'alexnet'; published are vgg19, vgg16, vgg19-torchvision"
    ):
        list(fetch("alexnet", tmp_path / "x.h5"))
    with pytest.raises(ValueError, match="must begin with https:// or http://"):
        list(fetch("vgg16", tmp_path / "x.h5", url="file:///etc/passwd"))


def test_the_digests_begin_as_the_names_of_the_files_say():
    for origin in ORIGINS.values():
        assert len(origin.sha256) == 64
        assert origin.sha256[:8] in origin.url
