"""The page against hostile pages, and a browser that dies."""

import contextlib
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

if not os.environ.get("CI"):  # there, what is missing is an error
    pytest.importorskip("uvicorn")
    pytest.importorskip("playwright")

from playwright.sync_api import Error

from nanostyle.server import jobs
from tests.support.browser import add, launched, page, paint_with, settled, shown, style, unfold
from tests.support.paths import ROOT
from tests.support.server import TOKEN

pytestmark = pytest.mark.browser

ART = ROOT / "docs" / "pictures" / "painting.jpg"

HOSTILE = """<!doctype html><meta charset=utf-8><title>hostile</title><iframe src="{0}"></iframe>
<img id=i src="{0}api/v1/info"><iframe name=t></iframe>
<form id=f method=post enctype=multipart/form-data target=t action="{0}stylize?style=scream_munch">
<input name=file value=x></form><script>
window.tried = (async () => {{
  const said = [];
  document.getElementById("f").submit();
  for (const options of [{{mode: "no-cors", method: "POST", body: "x"}}, {{mode: "cors"}}]) {{
    try {{
      const answer = await fetch("{0}api/v1/jobs", options);
      said.push(answer.type === "opaque" ? "blind" : await answer.text());
    }} catch {{ said.push("refused"); }}
  }}
  const other = window.open("{0}");
  for (let i = 0; ; i++) {{
    await new Promise((r) => setTimeout(r, 500));
    try {{
      const title = other.document.title; // "": it has not come yet
      if (title || i > 60) {{ said.push(title); break; }}
    }} catch {{ said.push("refused"); break; }}
  }}
  said.push(await new Promise((r) => {{
    const socket = new WebSocket("{0}".replace("http", "ws"));
    socket.onopen = () => r("open");
    socket.onerror = () => r("refused");
  }}));
  said.push(String(document.getElementById("i").naturalWidth));
  return said;
}})();
</script>"""


def test_a_hostile_page_gets_nothing(chrome, site):
    body = HOSTILE.format(site.address).encode()

    class Hostile(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        before = len(site.worker.jobs), site.store.taken()
        try:
            with page(chrome, f"http://127.0.0.1:{server.server_port}/", allow=("",)) as opened:
                said = opened.evaluate("() => window.tried")
        finally:
            server.shutdown()
            thread.join()
    assert said[0] in ("blind", "refused") and said[1:] == ["refused", "refused", "refused", "0"], json.dumps(said)
    assert (len(site.worker.jobs), site.store.taken()) == before


def test_a_browser_that_is_killed_leaves_the_server_at_work(chrome, site, small, monkeypatch):
    other = launched(chrome.browser_type)
    with contextlib.suppress(Error):  # the page ends with its browser
        opened = other.new_page()
        opened.goto(f"{site.address}#{TOKEN}")
        opened.wait_for_selector("#styles button img[src]")
        add(opened, small)
        paint_with(opened, ART)
        unfold(opened)
        opened.fill("#refine-size", "64")
        opened.fill("#iterations", "2000")
        opened.click("#refine")
        opened.wait_for_selector("#message:has-text('Step')")
        processes = other.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        (main,) = (process["id"] for process in processes if process["type"] == "browser")
        assert site.worker.counts() == (1, 0)
        monkeypatch.setattr(jobs, "PATIENCE", 3.0)  # not before: a busy page may take so long until it listens
        os.kill(int(main), signal.SIGKILL)
    until = time.monotonic() + 60
    while site.worker.counts() != (0, 0) and time.monotonic() < until:
        time.sleep(0.1)
    assert site.worker.counts() == (0, 0)
    with page(chrome, f"{site.address}#{TOKEN}") as again:
        again.wait_for_selector("#styles button img[src]")
        add(again, small)
        style(again, "Scream")
        settled(again)
        assert shown(again).shape == (170, 256, 3)


def test_a_name_that_is_turned_to_this_machine_is_refused(chrome, site):
    rebinding = launched(chrome.browser_type, "--host-resolver-rules=MAP evil.example 127.0.0.1")
    address = f"http://evil.example:{site.port}/"
    with contextlib.closing(rebinding) as running, page(running, address, allow=("403", "Opener-Policy")) as opened:
        assert "does not go by that name" in opened.content()
