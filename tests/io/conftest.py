"""A picture for the tests of files."""

import numpy as np
import pytest

from tests.support.foreign_files import write  # noqa: F401 (a fixture)
from tests.support.picture_files import HEIGHT, WIDTH


@pytest.fixture
def colors():
    """A smooth (HEIGHT, WIDTH, 3) uint8 picture with no symmetry, kind to JPEG."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 6, y * 10, 200 - x * 2 - y * 3], axis=-1).astype(np.uint8)
