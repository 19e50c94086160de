"""The two commands as processes: address, token, Ctrl-C."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.command import environment, failed, run
from tests.support.paths import ROOT

pytest.importorskip("uvicorn")

PHOTO = ROOT / "docs" / "pictures" / "photo.jpg"
WAIT = 60


class Running:
    """A server in a process of its own, on a port that is free."""

    def __init__(self, *words, folder, **env):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nanostyle", *map(str, words), "--port", "0", "--device", "cpu"],
            env=environment(TMPDIR=str(folder), XDG_RUNTIME_DIR="", **env),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.address, self.token = self._address()
        except BaseException:
            self.__exit__()
            raise

    def _address(self):
        """Address and token, from the first line that names them: Python may warn of a browser it left running."""
        self.said = []
        for line in self.process.stderr:
            self.said.append(line.strip())
            if "Ctrl-C" in line:
                break
        found = [match for line in self.said if (match := re.match(r"(https?://[^/]+)/(?:#(\S+))?", line))]
        assert found, self.said
        return found[0][1], found[0][2]

    def ask(self, path, data=None, method=None):
        request = urllib.request.Request(self.address + path, data, method=method)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        return urllib.request.urlopen(request, timeout=WAIT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(WAIT)
        self.process.stderr.close()


def test_ctrl_c_ends_it_with_a_stream_and_a_refinement_under_way(tmp_path):
    with Running("gui", PHOTO, "--no-browser", folder=tmp_path) as server:
        assert re.fullmatch(r"[\w-]{32}", server.token)
        photo = json.load(server.ask("/api/v1/info"))["photos"][0]
        assert photo["name"] == "photo.jpg"
        order = {
            "kind": "refine",
            "photo": photo["id"],
            "layers": [{"painting": photo["id"]}],
            "size": 64,
            "gatys": {"iterations": 2000},
        }
        job = json.load(server.ask("/api/v1/jobs", json.dumps(order).encode()))["id"]
        stream, heard = server.ask(f"/api/v1/jobs/{job}/events"), []

        def listen():
            for line in stream:
                heard.append(line.decode())

        listener = threading.Thread(target=listen)
        listener.start()
        until = time.monotonic() + WAIT
        while not any("event: step" in line for line in heard) and time.monotonic() < until:
            time.sleep(0.05)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(WAIT) == 0
        listener.join(WAIT)
        stream.close()
        assert "event: bye\n" in heard and "event: done\n" not in heard  # it was not waited for
        assert server.process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


def test_sigterm_ends_it_too(tmp_path):
    with Running("serve", folder=tmp_path, NANOSTYLE_TOKEN="a-token-of-the-tests") as server:
        assert server.said[1] == "Authorization: Bearer a-token-of-the-tests"
        server.token = "a-token-of-the-tests"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            server.ask("/")
        assert (
            server.ask("/stylize?style=scream_munch&size=32", PHOTO.read_bytes()).headers["content-type"]
            == "image/jpeg"
        )
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT) == 0


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc here")
def test_the_token_is_in_no_argument_and_in_a_file_of_0600_that_goes(tmp_path):
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\nexec sleep 60\n")
    browser.chmod(0o755)
    folder = tmp_path / "temporary"
    folder.mkdir()
    with Running("gui", folder=folder, BROWSER=f"{browser} %s &") as server:
        (file,) = folder.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600 and server.token in file.read_text()
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert server.token.encode() not in command.read_bytes(), command
            except OSError:
                continue
        server.ask("/api/v1/info").close()
        assert list(folder.iterdir()) == []


def test_slow_bodies_and_strangers_by_socket(tmp_path):
    with Running("serve", "--no-token", folder=tmp_path) as server:
        host = server.address.removeprefix("http://")
        for name, status in ((host, 200), ("evil.example", 403), ("", 403)):
            connection = http.client.HTTPConnection(host, timeout=WAIT)
            connection.putrequest("GET", "/api/v1/info", skip_host=True)
            connection.putheader("Host", name)
            connection.endheaders()
            assert connection.getresponse().status == status
            connection.close()
        connection = http.client.HTTPConnection(host, timeout=WAIT)
        connection.putrequest("POST", "/api/v1/pictures")
        connection.putheader("Content-Length", str(65 * 1000 * 1000))
        connection.endheaders()
        assert connection.getresponse().status == 413  # before any of the body is sent
        connection.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_memory_does_not_grow_with_the_requests(tmp_path):
    with Running("serve", "--no-token", folder=tmp_path) as server:
        photo = PHOTO.read_bytes()

        def ask(count):
            for _ in range(count):
                server.ask("/stylize?style=scream_munch&size=64", photo).read()

        def by_four(count):
            threads = [threading.Thread(target=ask, args=(count // 4,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT)
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

        first = by_four(20)
        assert by_four(80) - first < 30_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gui", "--lan", "--no-token"], "takes a token; leave out --no-token"),
        (["serve", "--token-file", "short.txt"], "16 or more"),
        (["serve", "--host", "192.0.2.77"], "cannot listen on 192.0.2.77"),
        (["gui", "no.jpg"], "no.jpg"),
        (["gui", "short.txt", "--no-browser"], "not a picture"),
        (["serve", "--model", "short.txt"], "short.txt"),
        (["serve", "--certfile", "short.txt"], "--keyfile"),
        (["serve", "--port", "70000"], "--port"),
    ],
)
def test_bad_input_is_told_on_one_line(words, said, tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    failed(run(*words, cwd=tmp_path), said)


def test_a_port_that_is_taken_and_given_is_an_error(tmp_path):
    with Running("serve", folder=tmp_path) as server:
        port = server.address.rpartition(":")[2]
        failed(run("serve", "--port", port, cwd=tmp_path), f"port {port}", "choose another --port")


def test_without_the_extra_it_says_what_to_install(tmp_path):
    program = (
        "import sys, importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'starlette' else find(name, *a)\n"
        "from nanostyle.cli import main\nmain(['gui'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=WAIT
    )
    failed(result, 'gui: needs starlette and uvicorn; pip install "nanostyle[gui]"')


def test_the_help_imports_none_of_it():
    program = (
        "import sys\nfrom nanostyle.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'starlette', 'uvicorn', 'python_multipart'} & sys.modules.keys()"
    )
    result = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, timeout=WAIT)
    assert result.returncode == 0, result.stderr
    assert b"gui" in result.stdout and b"serve" in result.stdout
