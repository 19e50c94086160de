"""Work tells of itself to who listens, and is ended by what the listener raises."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import no_grad
from nanostyle.backend import halfway
from nanostyle.backend.rows import ArrayRows
from nanostyle.nets.banded import BandedTransformer
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config

NET = TransformerNet(transformer_config("johnson", width=0.1, norm="instance"), np.random.default_rng(0))
PHOTO = np.random.default_rng(1).random((50, 37, 3), np.float32)


def test_a_pass_amounts_to_the_pixels_of_the_picture():
    told = []
    with halfway.heard_by(told.append), no_grad():
        NET(PHOTO[None])
    assert len(told) == len(NET.layers) and sum(told) == pytest.approx(50 * 37)


def test_a_pass_in_bands_tells_of_each():
    told = []
    with halfway.heard_by(told.append):
        BandedTransformer(NET, memory=1 << 20)(ArrayRows(PHOTO), {}).read(0, 50)
    assert len(told) > len(NET.layers) and 0.5 < sum(told) / (50 * 37) < 1.2


def test_what_the_listener_raises_ends_the_pass():
    def stop(pixels):
        raise InterruptedError

    with pytest.raises(InterruptedError), halfway.heard_by(stop), no_grad():
        NET(PHOTO[None])
    halfway.tell(1)  # nobody listens any more
