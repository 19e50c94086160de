"""L-BFGS and Adam: on functions whose minimum is known, against PyTorch, and on a bad road."""

import itertools

import numpy as np
import pytest

from nanostyle.optim import Adam, lbfgs
from nanostyle.tensor import Tensor


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    loss = (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()
    g = np.zeros_like(x)
    g[:-1] += -400 * a * (b - a * a) - 2 * (1 - a)
    g[1:] += 200 * (b - a * a)
    return float(loss), g, None


def run(f, x, steps, **options):
    return list(itertools.islice(lbfgs(f, x, **options), steps + 1))


@pytest.mark.parametrize("first_step", [1e-6, 0.02, 1.0, 1e3])
def test_lbfgs_finds_the_bottom_of_a_curved_valley(first_step):
    points = run(rosenbrock, np.full(10, -1.2), 200, first_step=first_step)
    np.testing.assert_allclose(points[-1].x, 1, atol=1e-6)


def test_lbfgs_never_goes_up_and_begins_at_the_start():
    start = np.full(6, -1.2)
    points = run(rosenbrock, start, 60)
    losses = [p.loss for p in points]
    assert losses == sorted(losses, reverse=True)
    np.testing.assert_array_equal(points[0].x, np.full(6, -1.2))
    assert points[-1].evaluations < 2 * len(points)


def test_lbfgs_solves_a_quadratic_of_any_scale():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((30, 30))
    A = A @ A.T + np.eye(30)
    target = rng.standard_normal(30)
    for scale in (1e-8, 1.0, 1e8):
        points = run(
            lambda x, s=scale: (s * 0.5 * x @ A @ x - s * target @ x, s * (A @ x - target), None), 0 * target, 80
        )
        np.testing.assert_allclose(points[-1].x, np.linalg.solve(A, target), rtol=1e-4, atol=1e-4)


def test_lbfgs_ends_where_nothing_is_to_be_gained():
    points = run(lambda x: (float(x @ x), 2 * x, None), np.zeros(3), 10)
    assert len(points) == 1
    assert len(run(lambda x: (float(x @ x), 2 * x, None), np.ones(3), 100)) < 20


def test_lbfgs_comes_back_from_a_cliff():
    """Beyond |x| > 2 the function is NaN or infinite: steps that land there are never taken."""

    def f(x):
        loss, g, _ = rosenbrock(x)
        if np.abs(x).max() > 2:
            return (np.nan if x[0] > 0 else np.inf), g * np.nan, None
        return loss, g, None

    points = run(f, np.full(4, -1.2), 150, first_step=10)
    assert all(np.isfinite(p.loss) for p in points)
    np.testing.assert_allclose(points[-1].x, 1, atol=1e-5)


def test_lbfgs_survives_a_gradient_that_lies():
    """Wrong curvature: the history is dropped, the best point is kept, and it ends instead of turning in circles."""
    rng = np.random.default_rng(0)
    points = run(lambda x: (float(x @ x), 2 * x + rng.standard_normal(x.shape), None), np.full(5, 3.0), 200)
    losses = [p.loss for p in points]
    assert losses == sorted(losses, reverse=True)


def test_lbfgs_hands_on_the_note_of_the_point_it_kept():
    for p in run(lambda x: (*rosenbrock(x)[:2], x.copy()), np.full(4, -1.2), 20):
        np.testing.assert_array_equal(p.note, p.x)


def test_lbfgs_is_as_good_as_torch():
    torch = pytest.importorskip("torch")
    x = torch.full((10,), -1.2, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.LBFGS([x], max_iter=30, line_search_fn="strong_wolfe", history_size=20)

    def closure():
        theirs.zero_grad()
        loss, g, _ = rosenbrock(x.detach().numpy())
        x.grad = torch.from_numpy(g)
        return torch.tensor(loss)

    theirs.step(closure)
    ours = run(rosenbrock, np.full(10, -1.2), 30)[-1]
    assert ours.loss < 1.05 * rosenbrock(x.detach().numpy())[0] + 1e-6


def test_adam_equals_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    ours = {k: Tensor(v.copy(), requires_grad=True) for k, v in start.items()}
    theirs = {k: torch.from_numpy(v.copy()).requires_grad_() for k, v in start.items()}
    a, b = Adam(ours, lr=0.01), torch.optim.Adam(theirs.values(), lr=0.01)
    for _ in range(20):
        for k in start:
            g = rng.standard_normal(start[k].shape)
            ours[k].grad, theirs[k].grad = g, torch.from_numpy(g)
        a.step()
        b.step()
    for k in start:
        np.testing.assert_allclose(ours[k].data, theirs[k].detach().numpy(), rtol=1e-10)


def test_adam_leaves_alone_what_has_no_gradient():
    p = Tensor(np.ones(3), requires_grad=True)
    adam = Adam({"p": p})
    adam.step()
    np.testing.assert_array_equal(p.data, np.ones(3))
    p.grad = np.ones(3)
    adam.step()
    assert p.grad is None and (p.data < 1).all()
