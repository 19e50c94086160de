"""The routes: fair weather, and a clear word for each thing that is wrong."""

import io
import json
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")

from starlette.testclient import TestClient

from nanostyle.backend import halfway
from nanostyle.io.recipe import recipe_in
from nanostyle.server import jobs
from nanostyle.server.store import NotFound
from tests.support.server import ART, PHOTO, TOKEN, application, picture_file, pixels_of

NAME = "scream_munch"


@pytest.fixture(scope="module")
def site_and_client():
    site, app = application()
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    client.headers["authorization"] = f"Bearer {TOKEN}"
    yield site, client
    site.worker.close()


@pytest.fixture
def client(site_and_client):
    return site_and_client[1]


@pytest.fixture
def site(site_and_client):
    return site_and_client[0]


def send(client, data=PHOTO, name="photo.png"):
    answer = client.post("/api/v1/pictures", content=data, headers={"x-name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()


def order(http, **words):
    said = {"kind": "preview", "photo": words.pop("photo", None) or send(http)["id"], "size": 32}
    return {**said, "layers": [{"style": NAME}], **words}


def begin(http, **words):
    answer = http.post("/api/v1/jobs", json=order(http, **words))
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def ended(client, id, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        status = client.get(f"/api/v1/jobs/{id}").json()
        if status["state"] not in ("queued", "running"):
            return status
        time.sleep(0.02)
    raise AssertionError(f"job {id} does not end: {status}")


def refused(answer, status, code, *words):
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said["code"] == code and set(said) <= {"error", "code", "id"}
    assert len(said["error"].splitlines()) == 1
    for word in words:
        assert word in said["error"], said["error"]


# --- what there is --------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_are_served_without_a_token(client):
    page = client.get("/", headers={"authorization": ""})
    assert page.status_code == 200 and "<title>nanostyle</title>" in page.text
    assert page.headers["content-type"].startswith("text/html")
    for name in ("style.css", "app.js", "icon.svg"):
        assert client.get(f"/{name}").status_code == 200
    for name in ("index.html", "..%2fapp.py", "app.py", "page/app.js"):
        refused(client.get(f"/{name}"), 404, "not_found")
    assert client.get("/healthz", headers={"authorization": ""}).text == "ok"


def test_info_tells_models_limits_and_the_queue(client, site):
    info = client.get("/api/v1/info").json()
    names = {style["name"]: style["label"] for style in info["models"][0]["styles"]}
    assert names["starry_night_van_gogh"] == "Starry Night van Gogh" and "photo" not in names
    assert info["models"][1]["styles"] == [] and info["models"][1]["kind"] == "predict"
    assert info["limits"]["pixels"] == site.limits.pixels and info["queue"] == {"running": 0, "waiting": 0}


def test_thumbnails_are_small_pictures(client):
    answer = client.get(f"/api/v1/models/styles/styles/{NAME}/thumbnail")
    assert max(pixels_of(answer.content).shape) <= 128
    for path in ("styles/styles/nobody", f"nothing/styles/{NAME}", "any/styles/photo"):
        refused(client.get(f"/api/v1/models/{path}/thumbnail"), 404, "not_found")


# --- pictures -------------------------------------------------------------------------------------------------------


def test_a_picture_is_sent_shown_and_dropped(client):
    sent = send(client, picture_file((48, 32), 5), "..%2F..%2Fcat%0D%0ASet-Cookie%3A x.png")
    assert (sent["width"], sent["height"], sent["recipe"]) == (48, 32, None)
    assert sent["name"] == "catSet-Cookie: x.png"
    shown = client.get(f"/api/v1/pictures/{sent['id']}?max=24")
    assert shown.headers["content-type"] == "image/jpeg" and pixels_of(shown.content).shape == (16, 24, 3)
    assert client.delete(f"/api/v1/pictures/{sent['id']}").status_code == 204
    refused(client.get(f"/api/v1/pictures/{sent['id']}"), 404, "not_found")
    refused(client.delete(f"/api/v1/pictures/{sent['id']}"), 404, "not_found")


def test_a_picture_with_alpha_is_shown_as_png(client):
    image = Image.fromarray(np.full((6, 8, 4), 100, np.uint8))
    data = io.BytesIO()
    image.save(data, "PNG")
    shown = client.get(f"/api/v1/pictures/{send(client, data.getvalue())['id']}?max=4")
    assert shown.headers["content-type"] == "image/png" and Image.open(io.BytesIO(shown.content)).mode == "RGBA"


@pytest.mark.parametrize("data", [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", PHOTO[:60]])
def test_what_is_no_picture_is_refused(client, data):
    refused(client.post("/api/v1/pictures", content=data), 415, "not_a_picture")


def test_mutated_pictures_are_refused_or_shown(client):
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(PHOTO)).save(jpeg, "JPEG")
    rng = np.random.default_rng(1)
    sent = shown = 0
    for i in range(200):
        body = bytearray((PHOTO, jpeg.getvalue())[i % 2])
        for place in rng.integers(0, len(body), rng.integers(1, 6)):
            body[place] = rng.integers(0, 256)
        answer = client.post("/api/v1/pictures", content=bytes(body))
        assert answer.status_code in (201, 413, 415), answer.text
        if answer.status_code == 201:
            sent += 1
            status = client.get(f"/api/v1/pictures/{answer.json()['id']}?max=16").status_code
            assert status in (200, 413, 415)
            shown += status == 200
    assert sent and shown and shown < 200


def test_too_many_bytes_and_pixels_are_refused(client, site):
    refused(client.post("/api/v1/pictures", content=bytes(site.limits.upload + 1)), 413, "too_large", "MB")
    large = picture_file((2000, 1001))
    refused(client.post("/api/v1/pictures", content=large), 413, "too_large", "pixels")
    words = order(client, size=30_000, kind="final")
    refused(client.post("/api/v1/jobs", json=words), 413, "too_large", "size", "pixels")


@pytest.mark.parametrize("word", ["0", "-1", "5000", "x", "1e2", "9" * 400])
def test_sizes_to_show_are_checked(client, word):
    refused(client.get(f"/api/v1/pictures/{send(client)['id']}?max={word}"), 400, "bad_request", "max")


# --- jobs -----------------------------------------------------------------------------------------------------------


def test_a_preview_is_made(client):
    id = begin(client)
    status = ended(client, id)
    assert (status["state"], status["n"], status["error"]) == ("done", 1, None)
    made = pixels_of(client.get(f"/api/v1/jobs/{id}/picture?max=32").content)
    assert made.shape == (24, 32, 3)
    assert np.abs(made.astype(int) - pixels_of(PHOTO, 32)).mean() > 5


def test_previews_of_scripts_are_not_those_of_one_client(client):
    ids = [begin(client) for _ in range(2)]
    assert [ended(client, id)["state"] for id in ids] == ["done", "done"]
    assert [client.get(f"/api/v1/jobs/{id}/picture").status_code for id in ids] == [200, 200]
    named = [begin(client, client=name) for name in ("tab", "another")]
    assert [ended(client, id)["state"] for id in named] == ["done", "done"]
    ended(client, begin(client, client="tab"))
    assert [client.get(f"/api/v1/jobs/{id}/picture").status_code for id in named] == [404, 200]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_final_is_downloaded_with_its_recipe(client, kind):
    id = begin(client, kind="final", format=kind, strength=0.5, strokes=64)
    ended(client, id)
    answer = client.get(f"/api/v1/jobs/{id}/result")
    assert answer.headers["content-type"] == f"image/{kind}"
    suffix = {"jpeg": "jpg"}.get(kind, kind)
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''photo_{NAME}.{suffix}"
    recipe = recipe_in(answer.content)
    assert recipe["photo"] == "photo.png" and recipe["styles"] == [NAME]
    assert (recipe["strength"], recipe["strokes"]) == (0.5, 64)
    assert send(client, answer.content)["recipe"] == recipe
    url = client.post(f"/api/v1/jobs/{id}/link").json()["url"]
    assert client.get(url, headers={"authorization": ""}).content == answer.content
    refused(client.get(url), 404, "not_found")


def test_results_equal_those_of_the_api(client):
    import nanostyle

    ids = [send(client)["id"], send(client, ART, "art.png")["id"]]
    art = Image.open(io.BytesIO(ART))
    two = [{"style": NAME, "weight": 0.6}, {"style": "udnie_picabia", "weight": 0.4}]
    cases = [
        (two, [NAME, "udnie_picabia"], {"weights": [0.6, 0.4], "strength": 0.7}),
        ([{"painting": ids[1]}], art, {"colors": "content", "size": 40}),
        ([{"style": NAME, "weight": 2.0}, {"painting": ids[1]}], [NAME, art], {"weights": [2, 1], "strength": 0.8}),
    ]
    for layers, style, changes in cases:
        said = {name: value for name, value in changes.items() if name != "weights"}
        id = begin(client, kind="final", photo=ids[0], layers=layers, **{"size": None, **said})
        ended(client, id)
        made = pixels_of(client.get(f"/api/v1/jobs/{id}/result").content)
        right = nanostyle.stylize(Image.open(io.BytesIO(PHOTO)), style, device="cpu", **changes)
        np.testing.assert_array_equal(made, np.asarray(right.image))


def test_outside_of_a_mask_the_photo_stays(client):
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    data = io.BytesIO()
    Image.fromarray(mask).save(data, "PNG")
    layers = [{"style": NAME, "mask": send(client, data.getvalue(), "left.png")["id"]}]
    id = begin(client, kind="final", layers=layers, size=None)
    ended(client, id)
    answer = client.get(f"/api/v1/jobs/{id}/result").content
    difference = np.abs(pixels_of(answer).astype(int) - pixels_of(PHOTO))
    assert difference[:, 34:].max() <= 1 and difference[:, :30].mean() > 5
    assert recipe_in(answer)["masks"] == ["left.png"]


def test_a_refinement_shows_its_way_and_can_be_kept(client):
    painting = send(client, ART, "art.png")["id"]
    id = begin(client, kind="refine", layers=[{"painting": painting}], gatys={"iterations": 400}, size=64)
    refused(client.get(f"/api/v1/jobs/{id}/result"), 409, "not_ready")
    until = time.monotonic() + 60
    while client.get(f"/api/v1/jobs/{id}").json()["n"] < 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert client.get(f"/api/v1/jobs/{id}/picture?max=64").status_code == 200
    assert client.delete(f"/api/v1/jobs/{id}?keep=1").status_code == 204
    status = ended(client, id)
    assert status["state"] == "done" and 3 <= status["n"] < 400 and "style" in status["note"]
    recipe = recipe_in(client.get(f"/api/v1/jobs/{id}/result").content)
    assert recipe["iteration"] == status["done"] and recipe["styles"] == ["art.png"]
    assert pixels_of(client.get(f"/api/v1/jobs/{id}/picture?max=32").content).shape == (24, 32, 3)


def test_a_job_is_canceled(client):
    painting = send(client, ART, "art.png")["id"]
    id = begin(client, kind="refine", layers=[{"painting": painting}], gatys={"iterations": 400}, size=64)
    client.delete(f"/api/v1/jobs/{id}")
    assert client.get(f"/api/v1/jobs/{id}").json()["state"] == "canceled"
    refused(client.get(f"/api/v1/jobs/{id}/result"), 409, "canceled")
    assert ended(client, begin(client))["state"] == "done"


def test_a_batch_with_a_damaged_photo_is_a_zip_with_the_others(client):
    photos = [send(client, picture_file((40, 30), i), "same.png")["id"] for i in (1, 2)]
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (30, 40, 3), np.uint8))
    data = io.BytesIO()
    noise.save(data, "JPEG")
    photos.insert(1, send(client, data.getvalue()[:900], "bad.png")["id"])
    words = order(client, kind="batch", photos=photos, format="png", size=None)
    words.pop("photo")
    id = client.post("/api/v1/jobs", json=words).json()["id"]
    assert ended(client, id)["state"] == "done"
    answer = client.get(f"/api/v1/jobs/{id}/result")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == [f"same_{NAME}.png", f"same_{NAME} 2.png", "errors.txt"]
    assert archive.read("errors.txt").decode().startswith("bad.png: ")
    assert pixels_of(archive.read(f"same_{NAME}.png")).shape == (30, 40, 3)


def test_a_batch_that_is_stopped_is_a_zip_of_what_is_done(client, site, monkeypatch):
    photos = [send(client, picture_file((40, 30), i), f"{i}.png")["id"] for i in (1, 2, 3)]
    words = order(client, kind="batch", photos=photos, format="png", size=None)
    words.pop("photo")
    begun, real, made = threading.Event(), site.studio.stylizer, []

    class Second:
        """Stylizes the first photo; works on the second until that is stopped in the middle."""

        def __init__(self, order):
            self.real = real(order)

        def stylize(self, photo, *, name):
            made.append(name)
            while len(made) > 1:
                begun.set()
                halfway.tell(1)
            return self.real.stylize(photo, name=name)

    monkeypatch.setattr(site.studio, "stylizer", Second)
    id = client.post("/api/v1/jobs", json=words).json()["id"]
    assert begun.wait(60)
    status = client.get(f"/api/v1/jobs/{id}").json()
    assert (status["done"], status["total"], status["note"], status["n"]) == (1, 3, "2.png", 1)
    client.delete(f"/api/v1/jobs/{id}?keep=1")
    assert ended(client, id)["state"] == "done"
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/v1/jobs/{id}/result").content))
    assert archive.namelist() == [f"1_{NAME}.png"]


def test_events_tell_the_state_to_the_end(client):
    id = begin(client, kind="final")
    text = client.get(f"/api/v1/jobs/{id}/events").text
    events = [part.split("\n") for part in text.strip().split("\n\n")]
    assert events[0][0] == "event: state" and events[-1][0] == "event: done"
    assert json.loads(events[-1][1].removeprefix("data: "))["state"] == "done"


def test_a_newer_preview_takes_the_place_of_the_older(client, site):
    gate = begin(client, kind="refine", layers=[{"painting": send(client, ART, "art.png")["id"]}], size=128)
    first, second = (begin(client, client="tab") for _ in range(2))
    assert client.get(f"/api/v1/jobs/{first}").json()["state"] in ("superseded", "done")
    assert ended(client, second)["state"] == "done"
    client.delete(f"/api/v1/jobs/{gate}")


def test_a_full_queue_is_told(client, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_WAITING", 0)
    answer = client.post("/api/v1/jobs", json=order(client))
    refused(answer, 429, "busy")
    assert answer.headers["retry-after"] == "5"


def test_unknown_jobs(client):
    for path in ("", "/events", "/picture", "/result"):
        refused(client.get(f"/api/v1/jobs/guessed{path}"), 404, "not_found")
    refused(client.post("/api/v1/jobs/guessed/link"), 404, "not_found")
    refused(client.delete("/api/v1/jobs/guessed"), 404, "not_found")


WRONG = [
    ({"kind": "x"}, 400, "kind"),
    ({"strenght": 1}, 400, "did you mean 'strength'"),
    ({"strength": 1.5}, 400, "strength"),
    ({"strength": True}, 400, "strength"),
    ({"strength": None}, 400, "strength"),
    ({"strokes": 3}, 400, "strokes"),
    ({"strokes": 100.5}, 400, "strokes"),
    ({"size": 10**40}, 400, "size"),
    ({"colors": ["style"]}, 400, "colors"),
    ({"format": "svg"}, 400, "format"),
    ({"quality": 0}, 400, "quality"),
    ({"layers": []}, 400, "layers"),
    ({"layers": {}}, 400, "layers"),
    ({"layers": [{"style": NAME}] * 9}, 400, "layers"),
    ({"layers": [{"style": NAME, "painting": "x"}]}, 400, "not both"),
    ({"layers": [{}]}, 400, "layers"),
    ({"layers": [{"style": 7}]}, 400, "style"),
    ({"layers": [{"style": NAME, "weight": -1}]}, 400, "weight"),
    ({"layers": [{"style": NAME, "weight": 0}]}, 422, "weight"),
    ({"layers": [{"style": "scream"}]}, 404, "did you mean 'scream_munch'"),
    ({"layers": [{"style": NAME, "model": "nothing"}]}, 404, "model"),
    ({"layers": [{"style": NAME, "model": "any"}]}, 422, "takes paintings"),
    ({"layers": [{"painting": "guessed"}]}, 404, "picture"),
    ({"layers": [{"style": NAME, "mask": "guessed"}]}, 404, "picture"),
    ({"layers": [{"style": NAME, "mask": "x"}, {"style": NAME}]}, 422, "mask"),
    ({"layers": [{"style": NAME}, {"painting": "guessed"}]}, 404, "picture"),
    ({"kind": "refine"}, 422, "paintings"),
    ({"kind": "refine", "layers": [{"painting": "x"}], "strength": 0.5}, 422, "strength"),
    ({"gatys": {"iterations": 0}}, 400, "iterations"),
    ({"gatys": {"iteration": 1}}, 400, "did you mean 'iterations'"),
    ({"gatys": 7}, 400, "gatys"),
    ({"photo": "guessed"}, 404, "picture"),
    ({"photo": 3}, 400, "photo"),
    ({"photo": "x" * 5000}, 400, "photo"),
    ({"kind": "batch"}, 400, "photos"),
    ({"kind": "batch", "photos": ["guessed"]}, 404, "picture"),
]


@pytest.mark.parametrize(("words", "status", "text"), WRONG, ids=lambda value: str(value)[:50])
def test_each_wrong_word_is_named(client, words, status, text):
    answer = client.post("/api/v1/jobs", json=order(client, **words))
    refused(answer, status, {400: "bad_request", 404: "not_found", 422: "does_not_fit"}[status], text)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"strength": NaN}', b"{}"])
def test_bodies_that_are_no_order(client, body):
    refused(client.post("/api/v1/jobs", content=body), 400, "bad_request")


def test_mutated_orders_are_refused_or_done(client):
    good = json.dumps(order(client, gatys={"iterations": 3}, colors="style", strokes=64)).encode()
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(100):
        body = bytearray(good)
        for place in rng.integers(0, len(body), rng.integers(1, 4)):
            body[place] = rng.integers(0, 256)
        seen.add(client.post("/api/v1/jobs", content=bytes(body)).status_code)
    assert seen <= {202, 400, 404, 413, 422, 429} and 400 in seen
    until = time.monotonic() + 60
    while sum(client.get("/api/v1/info").json()["queue"].values()) and time.monotonic() < until:
        time.sleep(0.05)
    assert ended(client, begin(client))["state"] == "done"


def test_a_fault_of_ours_is_told_without_its_trace_and_the_worker_lives(client, site, monkeypatch, caplog):
    with monkeypatch.context() as patched:
        patched.setattr(site.studio, "stylizer", lambda order: 1 / 0)
        id = begin(client)
        status = ended(client, id)
        refused(client.get(f"/api/v1/jobs/{id}/result"), 500, "internal", id)
    assert status["state"] == "failed" and "division" not in status["error"]
    assert "division by zero" in caplog.text
    with monkeypatch.context() as patched:
        patched.setattr(site.store, "remove", lambda id: 1 / 0)
        answer = client.delete("/api/v1/pictures/x")
    refused(answer, 500, "internal")
    assert answer.json()["id"] in caplog.text
    assert ended(client, begin(client))["state"] == "done"


# --- scripts and the camera -----------------------------------------------------------------------------------------


def test_stylize_takes_a_form(client, site):
    files = {"file": ("photo.png", PHOTO), "style_image": ("art.png", ART)}
    answer = client.post("/stylize", files=files, data={"strength": "0.7", "format": "png", "size": "40"})
    assert answer.status_code == 200, answer.text
    assert pixels_of(answer.content).shape == (30, 40, 3)
    recipe = recipe_in(answer.content)
    assert (recipe["photo"], recipe["styles"], recipe["strength"]) == ("photo.png", ["art.png"], 0.7)
    assert answer.headers["content-disposition"].endswith("photo_art.png")
    job = next(reversed(site.worker.jobs))
    with pytest.raises(NotFound):
        site.store.result(job)


def test_stylize_takes_a_body_and_words_in_the_address(client):
    answer = client.post(f"/stylize?style={NAME}&style=udnie_picabia&weight=2&weight=1&size=32", content=PHOTO)
    assert answer.headers["content-type"] == "image/jpeg" and pixels_of(answer.content).shape == (24, 32, 3)
    assert recipe_in(answer.content)["weights"] == [2, 1]


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("", 400, "style"),
        ("style=scream", 404, "did you mean"),
        (f"style={NAME}&strenght=1", 400, "did you mean 'strength'"),
        (f"style={NAME}&strength=x", 400, "strength"),
        (f"style={NAME}&strength=nan", 400, "strength"),
        (f"style={NAME}&size=1.5", 400, "size"),
        (f"style={NAME}&weight=1&weight=1", 400, "weight"),
        (f"style={NAME}&format=gif", 400, "format"),
        (f"style={NAME}&file=/etc/passwd", 400, "there is no word"),
        (f"style={NAME}&url=http://example.com", 400, "there is no word"),
    ],
)
def test_stylize_names_each_wrong_word(client, query, status, text):
    answer = client.post(f"/stylize?{query}", content=PHOTO)
    refused(answer, status, {400: "bad_request", 404: "not_found"}[status], text)


def test_stylize_refuses_wrong_forms_and_bodies(client):
    refused(client.post(f"/stylize?style={NAME}"), 400, "bad_request", "photo")
    refused(client.post(f"/stylize?style={NAME}", content=b"no picture"), 415, "not_a_picture")
    refused(client.post("/stylize", files={"file": PHOTO}), 400, "bad_request", "style")
    refused(client.post("/stylize", files={"style_image": ART}), 400, "bad_request", "file")
    refused(client.post("/stylize", files={"x": ("x", b"")}, data={"file": "/etc/passwd"}), 400, "bad_request")
    many = [("file", ("a.png", PHOTO))] * 21
    refused(client.post("/stylize", files=many), 400, "bad_request")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    refused(client.post("/stylize", content=b"--y", headers=broken), 400, "bad_request")
    fields = {f"f{i}": "1" for i in range(1000)}
    refused(client.post("/stylize", files={"file": PHOTO}, data=fields), 400, "bad_request")


def test_frames_of_a_camera(client, site):
    frame = io.BytesIO()
    Image.open(io.BytesIO(PHOTO)).save(frame, "JPEG")
    path = f"/api/v1/frames?style={NAME}&strength=0.5&stream=a"
    answer = client.post(path, content=frame.getvalue())
    assert answer.status_code == 200 and pixels_of(answer.content).shape == (48, 64, 3)
    assert float(answer.headers["x-milliseconds"]) > 0
    site._streams.add("b")
    refused(client.post(path[:-1] + "b", content=frame.getvalue()), 429, "busy")
    refused(client.post(path, content=b"x"), 415, "not_a_picture")
    refused(client.post("/api/v1/frames", content=frame.getvalue()), 400, "bad_request")


# --- the guard, on the real routes ----------------------------------------------------------------------------------

ROUTES = [
    ("GET", "/api/v1/info"),
    ("POST", "/api/v1/pictures"),
    ("POST", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/x/events"),
    ("POST", "/api/v1/frames"),
    ("POST", "/stylize"),
]
ATTACKS = [
    ({"authorization": ""}, 401, "token"),
    ({"authorization": "Bearer wrong"}, 401, "token"),
    ({"host": "evil.example"}, 403, "host"),
    ({"host": "127.0.0.1.evil.example"}, 403, "host"),
    ({"host": "0.0.0.0"}, 403, "host"),
    ({"origin": "null"}, 403, "origin"),
    ({"origin": "http://localhost:1"}, 403, "origin"),
    ({"origin": "https://localhost"}, 403, "origin"),
    ({"sec-fetch-site": "cross-site"}, 403, "origin"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(("headers", "status", "code"), ATTACKS, ids=str)
def test_strangers_are_refused_on_each_route(client, method, path, headers, status, code):
    refused(client.request(method, path, headers=headers), status, code)


def test_every_answer_has_the_headers(client):
    for answer in (client.get("/"), client.get("/api/v1/info"), client.get("/nothing"), client.post("/api/v1/jobs")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert "set-cookie" not in answer.headers
    refused(client.options("/api/v1/info"), 405, "method")
    refused(client.post("/api/v1/info"), 405, "method")


def test_a_server_that_ends_takes_no_more():
    site, app = application()
    with TestClient(app, base_url="http://localhost") as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        id = begin(client)
        ended(client, id)
        site.end()
        refused(client.post("/api/v1/jobs", json=order(client)), 503, "ending")
    site.worker.close()
