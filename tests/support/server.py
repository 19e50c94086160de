"""A site with the built-in models and small limits, and pictures to send to it."""

import io

import numpy as np
from PIL import Image

from nanostyle.backend.device import CPU
from tests.support.pictures import picture

TOKEN = "a-token-of-the-tests-0123456789"


def picture_file(size=(64, 48), seed=1):
    """A PNG file of `size` (width, height)."""
    data = io.BytesIO()
    pixels = (255 * picture(size[1], size[0], seed)).round().astype(np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


PHOTO, ART = picture_file(), picture_file((40, 50), 2)


def pixels_of(data, width=None):
    """(H, W, 3) of 8 bits of a picture file."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if width is not None:
        image = image.resize((width, round(width * image.height / image.width)))
    return np.asarray(image)


def application(**limits):
    """A site and its application, for requests to localhost."""
    from nanostyle import load_model
    from nanostyle.server.app import Site
    from nanostyle.server.guard import Rules
    from nanostyle.server.work import Limits

    models = {name: load_model(name, device="cpu") for name in ("styles", "any")}
    site = Site(models, CPU, Limits(**{"upload": 1_000_000, "pixels": 2_000_000, "memory": 50_000_000, **limits}))
    return site, site.application(lambda page: Rules(TOKEN, page, site.limit))
