"""L-BFGS and Adam: on functions whose minimum is known, against PyTorch, and on a bad road."""

import itertools

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor
from nanostyle.optim.adam import Adam
from nanostyle.optim.lbfgs import lbfgs


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    loss = (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()
    g = np.zeros_like(x)
    g[:-1] += -400 * a * (b - a * a) - 2 * (1 - a)
    g[1:] += 200 * (b - a * a)
    return np.array([loss]), g


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
            lambda x, s=scale: (np.array([s * 0.5 * x @ A @ x - s * target @ x]), s * (A @ x - target)), 0 * target, 80
        )
        np.testing.assert_allclose(points[-1].x, np.linalg.solve(A, target), rtol=1e-4, atol=1e-4)


def test_lbfgs_ends_where_nothing_is_to_be_gained():
    points = run(lambda x: (np.array([x @ x]), 2 * x), np.zeros(3), 10)
    assert len(points) == 1
    assert len(run(lambda x: (np.array([x @ x]), 2 * x), np.ones(3), 100)) < 20


def test_lbfgs_comes_back_from_a_cliff():
    """Beyond |x| > 2 the function is NaN or infinite: steps that land there are never taken."""

    def f(x):
        loss, g = rosenbrock(x)
        if np.abs(x).max() > 2:
            return np.array([np.nan if x[0] > 0 else np.inf]), g * np.nan
        return loss, g

    points = run(f, np.full(4, -1.2), 150, first_step=10)
    assert all(np.isfinite(p.loss) for p in points)
    np.testing.assert_allclose(points[-1].x, 1, atol=1e-5)


def test_lbfgs_survives_a_gradient_that_lies():
    """Wrong curvature: the history is dropped, the best point is kept, and it ends instead of turning in circles."""
    rng = np.random.default_rng(0)
    points = run(lambda x: (np.array([x @ x]), 2 * x + rng.standard_normal(x.shape)), np.full(5, 3.0), 200)
    losses = [p.loss for p in points]
    assert losses == sorted(losses, reverse=True)


def test_lbfgs_hands_on_the_values_of_the_point_it_kept():
    def f(x):
        loss, g = rosenbrock(x)
        return np.concatenate([x, loss]), g

    for p in run(f, np.full(4, -1.2), 20):
        np.testing.assert_array_equal(p.values[:-1], p.x)
        assert p.values[-1] == p.loss == rosenbrock(p.x)[0][0]


def two_loops(g, pairs):
    """The textbook's recursion (Nocedal 2006, algorithm 7.4), over vectors."""
    q, alphas = -g, []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q = q - alphas[-1] * y
    if pairs:
        s, y = pairs[-1]
        q = q * (s @ y) / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + (alpha - y @ q / (s @ y)) * s
    return q


def test_lbfgs_goes_where_the_textbook_says():
    """Every step lies on the textbook's direction, also when old pairs have made room for new ones."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((12, 12))
    A = A @ A.T + 0.1 * np.eye(12)
    points = run(lambda x: (np.array([0.5 * x @ A @ x]), A @ x), rng.standard_normal(12), 14, history=4)
    pairs = []
    for here, there in itertools.pairwise(points):
        step, direction = there.x - here.x, two_loops(here.gradient, pairs)
        cosine = step @ direction / np.linalg.norm(step) / np.linalg.norm(direction)
        np.testing.assert_allclose(cosine, 1, rtol=1e-9)
        pairs = [*pairs, (step, there.gradient - here.gradient)][-4:]


def test_lbfgs_waits_once_for_an_evaluation(monkeypatch):
    """From a GPU every download waits for all that was launched before."""
    downloads, evaluations = [], []
    monkeypatch.setattr("nanostyle.optim.lbfgs.to_host", lambda x: downloads.append(x) or x)

    def f(x):
        evaluations.append(x)
        return rosenbrock(x)

    run(f, np.full(10, -1.2), 30)
    assert len(downloads) == len(evaluations)


def test_lbfgs_is_as_good_as_torch():
    torch = pytest.importorskip("torch")
    x = torch.full((10,), -1.2, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.LBFGS([x], max_iter=30, line_search_fn="strong_wolfe", history_size=20)

    def closure():
        theirs.zero_grad()
        loss, g = rosenbrock(x.detach().numpy())
        x.grad = torch.from_numpy(g)
        return torch.tensor(loss[0])

    theirs.step(closure)
    ours = run(rosenbrock, np.full(10, -1.2), 30)[-1]
    assert ours.loss < 1.05 * rosenbrock(x.detach().numpy())[0][0] + 1e-6


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
