"""One step of a training's optimizer: clipping, groups, the scale of the loss, the running average, its state."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor
from nanostyle.optim.adam import Adam, clip_grad_norm
from nanostyle.optim.loss_scale import LossScale
from nanostyle.optim.optimizer import Optimizer

SHAPES = {"conv/weight": (3, 4), "norm/gamma": (5,), "norm/beta": (5,)}


def some_parameters(seed=0):
    rng = np.random.default_rng(seed)
    return {name: Tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for name, s in SHAPES.items()}


def take(optimizer, gradients, lr=0.01):
    """A step with these gradients of the loss; whether it was taken, and the norm."""
    numbers = optimizer.numbers(lr)
    for name, g in gradients.items():
        optimizer.parameters[name].grad = (g * np.float32(numbers["scale"])).astype(np.float32)
    norm = float(optimizer.step(**numbers))
    return optimizer.count(norm), norm


def some_gradients(seed, size=1.0):
    rng = np.random.default_rng([9, seed])
    return {name: size * rng.standard_normal(s).astype(np.float32) for name, s in SHAPES.items()}


def test_a_step_is_that_of_torch():
    """Clipped together, then Adam with the rate of each group."""
    torch = pytest.importorskip("torch")
    ours = Optimizer(some_parameters(), max_norm=0.5, lr_factors={"norm/gamma": 10.0, "norm/beta": 10.0})
    theirs = {name: torch.from_numpy(p.data.copy()).requires_grad_() for name, p in ours.parameters.items()}
    weight, *norms = theirs.values()
    adam = torch.optim.Adam([{"params": [weight]}, {"params": norms, "lr": 0.1}], lr=0.01)
    for step in range(12):
        gradients = some_gradients(step, size=10.0 if step % 2 else 0.01)
        for name, p in theirs.items():
            p.grad = torch.from_numpy(gradients[name].copy())
        want = torch.nn.utils.clip_grad_norm_(theirs.values(), 0.5)
        adam.step()
        taken, norm = take(ours, gradients)
        assert taken and norm == pytest.approx(float(want), rel=1e-5)
    for name, p in theirs.items():
        np.testing.assert_allclose(ours.parameters[name].data, p.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_the_norm_is_that_of_all_gradients_without_the_scale():
    gs = [np.full((2, 2), 8.0), np.full(5, 4.0)]
    assert clip_grad_norm(gs, max_norm=1.0, scale=4.0) == pytest.approx(((336**0.5) / 4, 1 / (336**0.5)))
    assert clip_grad_norm(gs, max_norm=100.0, scale=4.0) == pytest.approx(((336**0.5) / 4, 0.25))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_moves_nothing_and_does_not_count(bad):
    optimizer = Optimizer(some_parameters(), max_norm=1.0, ema=0.9, loss_scale=LossScale(adapts=True))
    take(optimizer, some_gradients(0))
    before = {name: p.data.copy() for name, p in optimizer.parameters.items()} | {
        name: value.copy() for name, value in optimizer.state().items()
    }
    gradients = some_gradients(1)
    gradients["norm/beta"][3] = bad
    taken, norm = take(optimizer, gradients)
    assert not taken and not np.isfinite(norm)
    assert (optimizer.t, optimizer.loss_scale.value) == (1, 2.0**15)
    after = {name: p.data for name, p in optimizer.parameters.items()} | optimizer.state()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert all(p.grad is None for p in optimizer.parameters.values())


def test_the_scale_of_the_loss_changes_no_step():
    """A power of two takes no digit away."""
    plain = Optimizer(some_parameters(), max_norm=1.0)
    scaled = Optimizer(some_parameters(), max_norm=1.0, loss_scale=LossScale(adapts=True))
    for step in range(5):
        take(plain, some_gradients(step))
        take(scaled, some_gradients(step))
    for name, p in plain.parameters.items():
        np.testing.assert_array_equal(scaled.parameters[name].data, p.data)


def test_the_loss_scale_finds_its_size():
    scale = LossScale(adapts=True, growth=3)
    values = []
    for finite in (False, True, True, True, True, False, True, True, True):
        scale.update(finite)
        values.append(scale.value / 2.0**16)
    assert values == [0.5, 0.5, 0.5, 1, 1, 0.5, 0.5, 0.5, 1]
    fixed = LossScale(adapts=False)
    fixed.update(False)
    assert fixed.value == 1


def test_the_average_is_the_mean_of_all_steps_at_first_and_then_decays():
    optimizer = Optimizer(some_parameters(), max_norm=1.0, ema=0.75)
    seen = []
    for step in range(6):
        take(optimizer, some_gradients(step))
        seen.append(optimizer.parameters["norm/beta"].data.copy())
        if step == 3:
            np.testing.assert_allclose(optimizer.state()["average/norm/beta"], np.mean(seen, axis=0), rtol=1e-5)
    want = np.mean(seen[:4], axis=0)
    for value in seen[4:]:
        want = 0.75 * want + 0.25 * value
    np.testing.assert_allclose(optimizer.state()["average/norm/beta"], want, rtol=1e-5)
    with optimizer.averaged():
        np.testing.assert_allclose(optimizer.parameters["norm/beta"].data, want, rtol=1e-5)
    np.testing.assert_array_equal(optimizer.parameters["norm/beta"].data, seen[-1])


def test_weights_come_back_when_work_with_the_average_fails():
    optimizer = Optimizer(some_parameters(), max_norm=1.0, ema=0.5)
    take(optimizer, some_gradients(0))
    before = optimizer.parameters["norm/beta"].data
    with pytest.raises(ZeroDivisionError), optimizer.averaged():
        1 / 0  # noqa: B018
    assert optimizer.parameters["norm/beta"].data is before


def test_without_an_average_there_is_none():
    optimizer = Optimizer(some_parameters(), max_norm=1.0)
    assert {name.partition("/")[0] for name in optimizer.state()} == {"m", "v"}
    with optimizer.averaged():
        pass


def test_its_state_is_all_that_the_next_step_depends_on():
    one = Optimizer(some_parameters(), max_norm=1.0, ema=0.9)
    for step in range(3):
        take(one, some_gradients(step))
    other = Optimizer(some_parameters(seed=5), max_norm=1.0, ema=0.9)
    for name, p in one.parameters.items():
        other.parameters[name].data = p.data.copy()
    other.set_state({name: value.copy() for name, value in one.state().items()})
    other.t = one.t
    for step in range(3, 6):
        take(one, some_gradients(step))
        take(other, some_gradients(step))
    for name, p in one.parameters.items():
        np.testing.assert_array_equal(other.parameters[name].data, p.data)
    for name, value in one.state().items():
        np.testing.assert_array_equal(other.state()[name], value)
    with pytest.raises(KeyError):
        other.set_state({})


def test_without_clipping_and_scale_it_is_plain_adam():
    optimizer, plain = Optimizer(some_parameters(), max_norm=1e9), some_parameters()
    adam = Adam(plain, lr=0.01)
    for step in range(4):
        take(optimizer, some_gradients(step))
        for name, g in some_gradients(step).items():
            plain[name].grad = g
        adam.step()
    for name, p in plain.items():
        np.testing.assert_array_equal(optimizer.parameters[name].data, p.data)
