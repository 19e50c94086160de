"""The page in a real browser: what a person does with mouse, keys and finger, and what a hostile page tries."""

import contextlib
import io
import os
import subprocess
import tarfile
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

if not os.environ.get("CI"):  # there, what is missing is an error
    pytest.importorskip("uvicorn")
    pytest.importorskip("playwright")

from playwright.sync_api import Error

from nanostyle.io.image_write import thumbnail_jpeg
from nanostyle.io.recipe import recipe_in
from nanostyle.server.results import PREVIEW_QUALITY
from tests.support.browser import add, page, paint_with, settled, shot, shown, style, unfold
from tests.support.paths import ROOT
from tests.support.server import TOKEN, pixels_of

pytestmark = pytest.mark.browser

PICTURES = ROOT / "docs" / "pictures"
PHOTO, ART = PICTURES / "photo.jpg", PICTURES / "painting.jpg"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture
def opened(chrome, site):
    with page(chrome, f"{site.address}#{TOKEN}") as made:
        made.wait_for_selector("#styles button img[src]")
        yield made
    for job in site.worker.jobs.values():
        site.worker.cancel(job)


def strength(opened, *values, frames=1):
    """Drag the slider through `values`, one in so many frames; 0: as fast as events can come."""
    opened.evaluate(
        """async ([values, frames]) => {
          const slider = document.getElementById("strength");
          for (const value of values) {
            slider.value = value;
            slider.dispatchEvent(new Event("input"));
            for (let i = 0; i < frames; i++) await new Promise((done) => requestAnimationFrame(done));
          }
        }""",
        [values, frames],
    )


def saved(opened, button):
    with opened.expect_download(timeout=120_000) as download:
        opened.click(button)
    return download.value.suggested_filename, download.value.path().read_bytes()


def png(opened):
    opened.select_option("#format", "png")


def test_a_photo_and_a_style_make_a_preview(opened, small):
    assert opened.evaluate("() => location.hash") == ""
    add(opened, small)
    style(opened, "Starry")
    settled(opened)
    result, photo = shown(opened), pixels_of(small.read_bytes())
    assert result.shape == photo.shape
    assert np.abs(result.astype(int) - photo).mean() > 10
    assert opened.get_attribute("#styles button[title^='Starry']", "aria-pressed") == "true"


def test_a_preview_that_would_take_long_is_left_out(opened, tmp_path):
    opened.route("**/api/v1/forecast", lambda route: route.fulfill(json={"seconds": 1.5, "bytes": 1 << 20}))
    Image.open(PHOTO).resize((640, 80)).save(tmp_path / "wide.png")
    add(opened, tmp_path / "wide.png")

    def largest(request):
        return request.url.endswith("/forecast") and request.post_data_json["size"] == 640

    with opened.expect_request(largest):
        style(opened, "Starry")
    settled(opened)
    assert shown(opened).shape[1] == 512


def test_another_size_has_another_forecast_and_no_preview(opened, small):
    add(opened, small)
    style(opened, "Starry")
    settled(opened)
    opened.wait_for_selector("#forecast:has-text('of memory')")
    jobs = []
    opened.on("request", lambda request: jobs.append(request.url) if request.url.endswith("/jobs") else None)
    opened.route("**/api/v1/forecast", lambda route: route.fulfill(json={"seconds": 7, "bytes": 123e6}))
    opened.fill("#size", "77")
    opened.wait_for_selector("#forecast:has-text('Takes about 7 s and 123 MB of memory.')")
    assert opened.inner_text("#download").startswith("Download 77") and not jobs


def test_times_are_told_in_words(opened):
    script = "async () => (await import('/work.js')).clock"
    told = opened.evaluate(f"async () => [0.2, 59.5, 119.7, 600, 2519.6].map(await ({script})())")
    assert told == ["1 s", "1 min 0 s", "2 min 0 s", "10 min", "42 min"]


def test_a_photo_is_dropped_anywhere(opened, small):
    data = list(small.read_bytes())
    opened.evaluate(
        """(data) => {
          const transfer = new DataTransfer();
          const name = "<img src=x onerror=alert(1)>.png";
          transfer.items.add(new File([new Uint8Array(data)], name, { type: "image/png" }));
          for (const kind of ["dragenter", "dragover", "drop"]) {
            const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent(kind, options));
          }
        }""",
        data,
    )
    opened.wait_for_selector("#viewer:not([hidden])")
    assert opened.evaluate("() => window.nanostyle.state.photo.width") == 256
    opened.wait_for_selector("#photo[alt='The photo <img src=x onerror=alert(1)>.png']")
    assert opened.locator("img[src='x']").count() == 0


def test_dragging_the_strength_ends_with_its_last_value(opened, small, site):
    add(opened, small)
    style(opened, "Scream")
    settled(opened)
    before = len(site.worker.jobs)
    values = [0.9 - i / 15 for i in range(10)]
    strength(opened, *values, frames=0)
    settled(opened)
    jobs = list(site.worker.jobs.values())[before:]
    assert sum(job.began is not None for job in jobs) == 1
    strength(opened, *reversed(values), *values)
    settled(opened)
    last = shown(opened)
    strength(opened, 1)
    settled(opened)
    whole, photo = shown(opened).astype(int), pixels_of(small.read_bytes()).astype(int)
    assert np.abs(last - photo).mean() < 0.75 * np.abs(whole - photo).mean()


def test_two_styles_are_downloaded_as_the_python_api_makes_them(opened, small):
    import nanostyle

    add(opened, small)
    style(opened, "Starry")
    style(opened, "Scream", modifiers=["Control"])
    assert opened.locator("#chosen li").count() == 2
    opened.locator("#chosen input").first.fill("0.5")
    png(opened)
    name, data = saved(opened, "#download")
    assert name == "cat_starry_night_van_gogh.png"
    styles = ["starry_night_van_gogh", "scream_munch"]
    right = nanostyle.stylize(small, styles, weights=[0.5, 1], device="cpu")
    np.testing.assert_array_equal(pixels_of(data), np.asarray(right.image))
    recipe = recipe_in(data)
    assert (recipe["photo"], recipe["styles"], recipe["weights"]) == ("cat.png", styles, [0.5, 1])


def test_a_named_style_and_a_painting_are_blended(opened, small):
    import nanostyle

    add(opened, small)
    style(opened, "Scream")
    paint_with(opened, ART)
    style(opened, "Scream", modifiers=["Control"])
    png(opened)
    data = saved(opened, "#download")[1]
    right = nanostyle.stylize(small, [ART, "scream_munch"], device="cpu")
    np.testing.assert_allclose(pixels_of(data).astype(int), np.asarray(right.image), atol=1)
    assert recipe_in(data)["styles"] == ["painting.jpg", "scream_munch"]
    told = opened.text_content("#command")
    assert told == "nanostyle stylize cat.png --style-image painting.jpg --style scream_munch --weight 1 --weight 1"


def test_the_settings_of_a_result_come_back(opened, small, tmp_path):
    add(opened, small)
    style(opened, "Udnie")
    style(opened, "Scream", modifiers=["Control"])
    opened.locator("#chosen input").first.fill("0.5")
    strength(opened, 0.4)
    opened.fill("#strokes", "5")
    opened.check("input[name=colors][value=content]")
    png(opened)
    (tmp_path / "result.png").write_bytes(saved(opened, "#download")[1])
    opened.reload()
    opened.wait_for_selector("#styles button img[src]")
    add(opened, tmp_path / "result.png")
    opened.click("text=Use its settings")
    assert (opened.input_value("#strength"), opened.text_content("#strokes-value")) == ("0.4", "huge")
    assert opened.is_checked("input[name=colors][value=content]") and opened.is_hidden("#offer")
    chosen = opened.evaluate("() => window.nanostyle.state.chosen.map((style) => [style.name, style.weight])")
    assert chosen == [["udnie_picabia", 0.5], ["scream_munch", 1]]


def test_outside_of_a_painted_mask_the_photo_stays(opened, small):
    add(opened, small)
    style(opened, "Scream")
    unfold(opened)
    opened.click("#mask-paint")
    box = opened.locator("#view").bounding_box()
    x, y = box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2
    opened.mouse.move(x, y)
    opened.mouse.down()
    opened.mouse.move(x + 60, y, steps=5)
    opened.mouse.up()
    settled(opened)
    shot(opened, "mask")
    png(opened)
    data = saved(opened, "#download")[1]
    difference = np.abs(pixels_of(data).astype(int) - pixels_of(small.read_bytes())).max(axis=-1)
    assert difference[:, 160:].max() <= 1 and difference.max() > 40
    assert recipe_in(data)["masks"] == ["mask Scream Munch.png"]


def test_the_handle_moves_by_keys_and_shows_the_photo(opened):
    add(opened, PHOTO)
    style(opened, "Starry")
    settled(opened)
    opened.focus("#handle")
    steps = ("ArrowLeft", 49), ("Shift+ArrowLeft", 39), ("Home", 0), ("ArrowRight", 1), ("End", 100)
    for key, value in (*steps, *(("Shift+ArrowLeft", 90 - 10 * i) for i in range(5))):
        opened.keyboard.press(key)
        assert opened.get_attribute("#handle", "aria-valuenow") == str(value)
    opened.evaluate("() => document.activeElement.blur()")
    shot(opened, "page")


def test_refining_shows_its_way_and_keeps_what_is_seen(opened, small):
    add(opened, small)
    paint_with(opened, ART)
    unfold(opened)
    opened.fill("#refine-size", "64")
    opened.fill("#iterations", "2000")
    png(opened)
    opened.click("#refine")
    opened.wait_for_selector("#keep:not([hidden])")
    seen = set()
    until = time.monotonic() + 60
    while len(seen) < 10 and time.monotonic() < until:
        with contextlib.suppress(Error):  # there is none yet, or the next one is just coming
            seen.add(shown(opened).tobytes())
        time.sleep(0.1)
    assert len(seen) >= 10
    opened.click("#keep")
    opened.wait_for_selector("text=Save it")
    data = saved(opened, "text=Save it")[1]
    recipe = recipe_in(data)
    assert 1 <= recipe["iteration"] < 2000 and recipe["styles"] == ["painting.jpg"]
    assert max(pixels_of(data).shape) == 64
    told = thumbnail_jpeg(pixels_of(data).astype(np.float32) / 255, 2048, PREVIEW_QUALITY)
    assert np.abs(pixels_of(told).astype(int) - shown(opened)).mean() < 1  # it is what is seen
    assert opened.is_hidden("#cancel")


def refinable(opened, photo):
    """Choose a photo and a painting, and let a refinement be small."""
    add(opened, photo)
    paint_with(opened, ART)
    settled(opened)
    unfold(opened)
    opened.fill("#refine-size", "64")


def test_canceling_frees_the_queue(chrome, site, small):
    # The picture that is on its way when the job is canceled is refused: 409.
    with page(chrome, f"{site.address}#{TOKEN}", allow=("409",)) as opened:
        opened.wait_for_selector("#styles button img[src]")
        refinable(opened, small)
        opened.click("#refine")
        opened.wait_for_selector("#keep:not([hidden])")
        opened.click("#cancel")
        opened.wait_for_selector("text=/Canceled|Preview/")
        settled(opened)
        assert site.worker.counts() == (0, 0)


def test_a_picture_refused_in_passing_does_not_end_a_refinement(chrome, site, small):
    with page(chrome, f"{site.address}#{TOKEN}", allow=("ERR_",)) as opened:
        opened.wait_for_selector("#styles button img[src]")
        refinable(opened, small)
        opened.fill("#iterations", "30")
        with opened.expect_request("**/picture?max=2048"):
            opened.route("**/picture?max=2048", lambda route: route.abort(), times=1)
            opened.click("#refine")
        opened.wait_for_selector("text=Save it")


def test_a_batch_is_one_zip(opened, small, tmp_path):
    other = tmp_path / "other.png"
    Image.open(small).resize((128, 85)).save(other)
    add(opened, small, other)
    style(opened, "Scream")
    unfold(opened)
    name, data = saved(opened, "#batch")
    assert name == "nanostyle.zip"
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["cat_scream_munch.jpg", "other_scream_munch.jpg"]


def test_what_is_no_picture_is_told(chrome, site, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    with page(chrome, f"{site.address}#{TOKEN}", allow=("415",)) as opened:
        opened.set_input_files("#photo-files", str(tmp_path / "notes.png"))
        opened.wait_for_selector("#message.error:has-text('not a picture')")


def test_the_camera_is_painted(opened, site):
    style(opened, "Scream")
    unfold(opened)
    opened.click("#camera")
    opened.wait_for_function("() => window.nanostyle.state.camera?.frames >= 20", timeout=120_000)
    side = opened.evaluate("() => window.nanostyle.state.camera.side")
    assert 192 <= side <= 640
    opened.click("#take")
    opened.wait_for_function("() => window.nanostyle.state.photos.length === 1")
    assert opened.evaluate("() => window.nanostyle.state.photo.name") == "camera.jpg"


def test_a_photo_of_a_phone_is_upright_and_downloaded_whole(opened, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, stored on its side
    lying = Image.open(PHOTO).resize((1600, 1200)).rotate(90, expand=True).resize((1600, 1200))
    lying.save(tmp_path / "IMG_0001.JPG", "JPEG", exif=exif)
    add(opened, tmp_path / "IMG_0001.JPG")
    style(opened, "Wheat")
    settled(opened)
    height, width = shown(opened).shape[:2]
    assert height >= 256 and width == pytest.approx(0.75 * height, abs=1)
    assert opened.text_content("#download") == "Download 1200 × 1600"
    opened.wait_for_selector("#forecast:has-text('of memory')")
    name, data = saved(opened, "#download")
    assert name == "IMG_0001_wheat_field_van_gogh.jpg" and pixels_of(data).shape == (1600, 1200, 3)


class Fingers:
    """Fingers on the screen of a phone."""

    def __init__(self, opened):
        self.session = opened.context.new_cdp_session(opened)

    def _send(self, kind, places):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def move(self, *ways, steps=6):
        """From the first place of each way to the last, all at once; they touch the screen one after another."""
        for count in range(1, len(ways) + 1):
            self._send("touchStart", [way[0] for way in ways[:count]])
        for step in range(1, steps + 1):
            at = [[a + (b - a) * step / steps for a, b in zip(*way, strict=True)] for way in ways]
            self._send("touchMove", at)
        self._send("touchEnd", [])


def view_of(opened):
    return opened.evaluate("() => [window.nanostyle.viewer.x, window.nanostyle.viewer.scale]")


def veil(opened):
    """How many pixels of the mask are set."""
    return opened.evaluate(
        """() => {
          const [mask] = window.nanostyle.state.masks.values();
          const { data } = mask.pen.getImageData(0, 0, mask.canvas.width, mask.canvas.height);
          return data.filter((value, i) => i % 4 === 0 && value > 0).length;
        }"""
    )


def test_on_a_phone(chrome, site, small):
    with page(chrome, f"{site.address}#{TOKEN}", **PHONE) as opened:
        opened.wait_for_selector("#styles button img[src]")
        add(opened, small)
        opened.tap("#styles button[title^='Great']")
        settled(opened)
        opened.tap("#tabs button[data-tab='mask']")
        opened.tap("#mask-paint")
        box, fingers = opened.locator("#view").bounding_box(), Fingers(opened)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        before = view_of(opened)
        fingers.move(((x - 80, y), (x - 20, y)))
        settled(opened)
        painted = veil(opened)
        assert view_of(opened) == before and painted > 100
        # Two fingers move and zoom; what the first began is taken back.
        fingers.move(((x - 20, y), (x - 60, y)), ((x + 20, y), (x + 60, y)))
        assert view_of(opened)[1] == pytest.approx(3 * before[1], rel=0.1) and veil(opened) == painted
        opened.tap("#fit")
        opened.tap("#tabs button[data-tab='more']")
        assert opened.evaluate("() => document.documentElement.scrollWidth") <= 390
        name, data = saved(opened, "#download")
        assert name == "cat_great_wave_hokusai.jpg" and pixels_of(data).shape == (170, 256, 3)
        assert recipe_in(data)["masks"]


def test_on_a_phone_all_can_be_hit_and_nothing_jumps(chrome, site, small):
    with page(chrome, f"{site.address}#{TOKEN}", **PHONE) as opened:
        opened.wait_for_selector("#styles button img[src]")
        add(opened, small, ART)
        opened.evaluate(
            """() => {
              window.jumps = 0;
              new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) window.jumps += entry.value;
              }).observe({ type: "layout-shift" });
            }"""
        )
        opened.tap("#styles button[title^='Great']")
        settled(opened)
        assert opened.evaluate("() => window.jumps") < 0.01
        unfold(opened)
        for tab in ("styles", "adjust", "mask", "more"):
            opened.tap(f"#tabs button[data-tab='{tab}']")
            small_ones = """() => [...document.querySelectorAll("button, select, input, summary")].filter((e) => {
              const box = (e.labels?.length && e.type === "radio" ? e.labels[0] : e).getBoundingClientRect();
              return e.offsetParent && !e.hidden && (box.height < 43.9 || box.width < 43.9);
            }).map((e) => e.id || e.outerHTML)"""
            assert opened.evaluate(small_ones) == []


def test_all_is_reached_by_keys(opened, small):
    add(opened, small)
    opened.focus("#styles button[title^='Starry']")
    opened.keyboard.press("Enter")
    assert opened.evaluate("() => document.activeElement.title") == "Starry Night van Gogh"
    opened.keyboard.press("Tab")
    opened.keyboard.press("Control+Enter")
    assert opened.locator("#chosen li").count() == 2
    settled(opened)
    unfold(opened)
    reached = """() => [...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")]
      .filter((e) => e.offsetParent && !e.disabled && e.tabIndex >= 0 && !e.matches(":focus, .reached"))
      .filter((e) => e.type !== "radio" || e.checked).map((e) => e.id || e.outerHTML)"""
    for _ in range(90):
        opened.keyboard.press("Tab")
        opened.evaluate("() => document.activeElement.classList.add('reached')")
    assert opened.evaluate(reached) == []


def test_a_stream_that_breaks_off_is_taken_up_again(chrome, site, small):
    with page(chrome, f"{site.address}#{TOKEN}", allow=("ERR_",)) as opened:
        opened.wait_for_selector("#styles button img[src]")
        add(opened, small)
        broken = []

        def once(route):
            if broken:
                route.continue_()
            else:
                broken.append(route.request.url)
                route.abort()

        opened.route("**/events", once)
        style(opened, "Scream")
        opened.wait_for_selector("#message:has-text('Preview at')")
        assert len(broken) == 1


def test_without_https_the_camera_is_not_offered(chrome, site):
    with page(chrome, "about:blank") as opened:
        opened.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
        opened.goto(f"{site.address}#{TOKEN}")
        unfold(opened)
        assert "over HTTPS" in opened.text_content("#camera-hint") and opened.is_hidden("#camera")


@pytest.mark.parametrize("width", [320, 820, 1280])
def test_nothing_is_wider_than_the_screen_and_all_has_a_name(chrome, site, width, small):
    with page(chrome, f"{site.address}#{TOKEN}", viewport={"width": width, "height": 700}) as opened:
        opened.wait_for_selector("#styles button img[src]")
        add(opened, small)
        style(opened, "Scream")
        unfold(opened)
        for tab in ("styles", "adjust", "mask", "more"):
            opened.evaluate("(tab) => { document.getElementById('panel').dataset.tab = tab; }", tab)
            wide = """(width) => [...document.querySelectorAll('body *:not(#styles *):not(#layers, #layers *)')]
              .filter((e) => e.offsetParent && e.getBoundingClientRect().right > width + 1)
              .map((e) => e.id || e.tagName)"""
            assert opened.evaluate(wide, width) == []
            cut = """() => [...document.querySelectorAll('button:not(#styles *)')]
              .filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth).map((e) => e.id || e.textContent)"""
            assert opened.evaluate(cut) == []
        nameless = """() => [...document.querySelectorAll('button, input, select')].filter((e) => !e.hidden &&
          !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim() ||
          e.querySelector('img[alt]'))).map((e) => e.id)"""
        assert opened.evaluate(nameless) == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The checks of axe-core, from npm."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run(["npm", "pack", "axe-core@4"], cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"npm does not bring axe-core: {error}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        return package.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_to_mend(chrome, site, axe, screen, scheme, small):
    with page(chrome, f"{site.address}#{TOKEN}", color_scheme=scheme, **screen) as opened:
        opened.wait_for_selector("#styles button img[src]")
        opened.evaluate(axe)
        violations = "async () => (await axe.run()).violations.map((v) => v.id)"
        assert opened.evaluate(violations) == []
        add(opened, small)
        style(opened, "Scream")
        settled(opened)
        unfold(opened)
        for tab in ("styles", "adjust", "mask", "more"):
            opened.evaluate("(tab) => { document.getElementById('panel').dataset.tab = tab; }", tab)
            assert opened.evaluate(violations) == []
        opened.evaluate("() => document.getElementById('strength').labels[0].remove()")
        opened.evaluate("() => { document.getElementById('panel').dataset.tab = 'adjust'; }")
        assert opened.evaluate(violations) == ["label"]  # it does look


def test_without_the_token_the_page_asks_for_it(chrome, site):
    with page(chrome, site.address, allow=("401",)) as opened:
        opened.wait_for_selector("#token-dialog[open]")
        opened.fill("#token", TOKEN)
        opened.click("#token-dialog button")
        opened.wait_for_selector("#styles button img[src]")
