"""What `weights/deepen.py` trains is the rest of the network that the file holds."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.models.loss_network import load_features
from nanostyle.nets.vgg import LossNetwork
from tests.support.paths import ROOT
from weights import deepen, slim


@pytest.fixture(scope="module")
def start():
    return load_features(ROOT / "weights" / "builtin" / "loss.h5")


def seen(start, count=4, size=48):
    """What a trunk saw of random pictures, and as the teacher's features those of the network itself, unmapped."""
    plain = {name: x for name, x in start.parameters.items() if not name.endswith("/map")}
    network = LossNetwork(start.config, plain)
    pictures = np.random.default_rng(0).random((count, size, size, 3), np.float32)
    with no_grad():
        found = network.features(Tensor(pictures), (deepen.TRUNK, *deepen.LEVELS))
    return deepen.Seen(found[deepen.TRUNK].data, {level: found[level].data for level in deepen.LEVELS})


def test_the_tail_goes_on_from_the_trunk_as_the_network_does(start):
    sight = seen(start)
    tail = deepen.Tail(start.parameters)
    with no_grad():
        found = tail.features(sight.pooled)
    for level in deepen.LEVELS:
        np.testing.assert_allclose(found[level].data, sight.aims[level], rtol=1e-4, atol=1e-2)


def test_maps_are_fitted_and_a_perfect_guess_costs_nothing(start):
    sight = seen(start, size=128)
    tail = deepen.Tail(start.parameters)
    tail.fit(sight)
    spread = {level: float(f.var(axis=(1, 2)).mean()) for level, f in sight.aims.items()}
    total, terms = slim.losses(tail(sight.pooled), sight.aims, spread, [(0, 3)])
    assert total.item() == pytest.approx(sum(terms.values()), rel=1e-4)
    assert total.item() < 0.05, terms
    assert {name.split()[0] for name in terms} == {"feature", "gram", "change"}
    total.backward()
    assert all(np.isfinite(p.grad).all() for p in tail.parameters.values())


def test_differences_are_those_of_stops_from_their_own_painting():
    away = slim.differences_of([(0, 3), (3, 5)], 6)
    x = np.arange(6) ** 2
    np.testing.assert_array_equal(away @ x, [1, 4, 16 - 9])


def test_widening_keeps_what_there_was(start):
    wide = deepen.widened(start.parameters, {"conv4_3": 200, "conv4_4": 224})
    assert [wide[f"{name}/weight"].shape[2:] for name in deepen.TRAINED[2:]] == [(256, 200), (200, 224), (224, 256)]
    for name in deepen.TRAINED:
        old = start.parameters[f"{name}/weight"]
        np.testing.assert_array_equal(wide[f"{name}/weight"][:, :, : old.shape[2], : old.shape[3]], old)
    same = deepen.widened(start.parameters)
    assert all(same[name] is x for name, x in start.parameters.items())
