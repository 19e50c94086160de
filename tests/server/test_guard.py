"""Each rule of the guard, and the request that it stops."""

import asyncio
import json

import pytest

from nanostyle.server.guard import HEADERS, LOCAL_NAMES, Guard, Rules

TOKEN = "a-token"
RULES = Rules(token=TOKEN, page=frozenset({"/", "/app.js"}), limit=lambda path: 100, patience=0.2)


async def application(scope, receive, send):
    """Reads the body and says how long it was."""
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message.get("body", b""))
        more = message.get("more_body", False)
    headers = [(b"content-type", b"text/plain"), (b"Cache-Control", b"public"), (b"server", b"secret 1.0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(count).encode()})


def ask(path="/api", method="GET", body=(b"",), rules=RULES, token=TOKEN, host=("127.0.0.1:8765",), **headers):
    """Status, headers and body of the answer; a header given as a list comes several times."""
    sent = [(b"host", name.encode("latin-1")) for name in host]
    if token is not None:
        sent += [(b"authorization", f"Bearer {token}".encode("latin-1"))]
    for name, values in headers.items():
        for value in values if isinstance(values, list) else [values]:
            sent.append((name.replace("_", "-").encode(), value.encode("latin-1")))
    parts = list(body)
    messages = []

    async def receive():
        if not parts:
            await asyncio.sleep(60)
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts) or part == b"..."}

    async def send(message):
        messages.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": sent}
    asyncio.run(Guard(application, rules)(scope, receive, send))
    start = messages[0]
    answer = b"".join(message.get("body", b"") for message in messages[1:])
    return start["status"], {k.decode().lower(): v.decode() for k, v in start["headers"]}, answer


def refused(status, code, *args, **options):
    got, headers, body = ask(*args, **options)
    assert (got, json.loads(body)["code"]) == (status, code)
    assert "\n" not in json.loads(body)["error"]
    assert HEADERS.items() <= headers.items()
    return headers


def test_an_honest_request_is_answered_with_the_headers_of_safety():
    status, headers, body = ask(body=(b"ab", b"c"), method="POST")
    assert (status, body) == (200, b"3")
    assert HEADERS.items() <= headers.items()
    assert headers["cache-control"] == "no-store" and "server" not in headers
    assert not any(name.startswith("access-control") for name in headers)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost:1", "127.0.0.1:9", "[::1]:9", "[::1]"])
def test_names_of_this_machine(host):
    assert ask(host=(host,))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        (),
        ("localhost", "localhost"),
        ("evil.example",),
        ("127.0.0.1.evil.example",),
        ("localhost.evil",),
        ("0.0.0.0",),
        ("localhost:port",),
        ("localhost:1:2",),
        ("localhost@evil",),
        ("localhost/",),
        ("lo\xe7alhost",),
        ("",),
    ],
)
def test_other_names(host):
    """DNS rebinding: the page of another name whose address is ours now. Nothing is told, not even about the token."""
    refused(403, "host", host=host)
    refused(403, "host", host=host, token=None)
    refused(403, "host", "/", host=host)


def test_a_name_that_was_admitted():
    rules = Rules(**{**RULES.__dict__, "names": LOCAL_NAMES | {"studio.local"}})
    assert ask(host=("studio.local:80",), rules=rules)[0] == 200
    refused(403, "host", host=("other.local",), rules=rules)


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:8766",
        "https://127.0.0.1:8765",
        "http://127.0.0.1",
        "http://127.0.0.1:87650",
        "http://localhost:8765",
        "null",
        "",
        ["http://127.0.0.1:8765", "http://evil.example"],
    ],
)
def test_origins_of_others(origin):
    refused(403, "origin", origin=origin)
    refused(403, "origin", "/", origin=origin)


def test_our_own_origin():
    assert ask(origin="http://127.0.0.1:8765", sec_fetch_site="same-origin", method="POST")[0] == 200
    assert ask(host=("[::1]:80",), origin="http://[::1]:80")[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_requests_that_another_site_sends(site):
    refused(403, "origin", sec_fetch_site=site)
    refused(403, "origin", "/", method="POST", sec_fetch_site=site)
    assert ask("/", sec_fetch_site=site)[0] == 200  # a link from elsewhere may open the page, which holds no data


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "HEAD", "TRACE", "x" * 500])
def test_other_methods(method):
    assert refused(405, "method", method=method)["allow"] == "DELETE, GET, POST"


@pytest.mark.parametrize("token", [None, "", "a-toke", "a-token2", "A-TOKEN", "t\xf6ken", " a-token"])
def test_wrong_tokens(token):
    refused(401, "token", token=token)


def test_a_token_must_come_once_and_as_a_bearer():
    refused(401, "token", authorization=f"Bearer {TOKEN}")  # a second one
    refused(401, "token", token=None, authorization=TOKEN)
    refused(401, "token", token=None, authorization=f"Basic {TOKEN}")
    refused(401, "token", f"/api?token={TOKEN}", token=None)


@pytest.mark.parametrize("path", ["/", "/app.js", "/healthz", "/d/secret"])
def test_what_holds_no_data_needs_no_token(path):
    assert ask(path, token=None)[0] == 200


@pytest.mark.parametrize("path", ["/healthy", "//", "/app.js/", "/d", "/APP.JS", "/api/../app.js"])
def test_paths_that_only_resemble_them(path):
    refused(401, "token", path, token=None)


def test_without_a_token_the_other_rules_hold():
    rules = Rules(**{**RULES.__dict__, "token": ""})
    assert ask(token=None, rules=rules)[0] == 200
    refused(403, "origin", token=None, rules=rules, origin="http://evil.example")


def test_bodies_are_counted():
    assert ask(body=(b"a" * 60, b"b" * 40), method="POST")[2] == b"100"
    refused(413, "too_large", body=(b"a" * 60, b"b" * 41), method="POST")
    refused(413, "too_large", content_length="101", method="POST")
    refused(413, "too_large", content_length="-1", method="POST")
    refused(413, "too_large", content_length="9" * 5000, method="POST")


def test_a_body_that_stops_is_given_up():
    refused(408, "timeout", body=(b"...",), method="POST")


def test_other_protocols_are_closed():
    messages = []

    async def send(message):
        messages.append(message)

    asyncio.run(Guard(application, RULES)({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert messages == [{"type": "websocket.close", "code": 1008}]
