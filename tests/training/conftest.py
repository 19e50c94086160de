"""A small training, and where it ends."""

import pytest

from tests.support import tiny
from tests.support.train_tiny import training


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folders of photos and of two styles."""
    folder = tmp_path_factory.mktemp("data")
    tiny.write_pictures(folder / "photos", 6)
    tiny.write_pictures(folder / "styles", 2, size=(36, 44), seed=1)
    return folder / "photos", folder / "styles"


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    """The model of an undisturbed training of 12 steps."""
    output = tmp_path_factory.mktemp("finished") / "model.h5"
    list(training(*data, output))
    return output
