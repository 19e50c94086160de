"""The machine itself: order, accumulation, memory, and what it refuses."""

import gc
import weakref

import numpy as np
import pytest

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor, add_up, no_grad, op


def leaf(*shape):
    return Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def test_a_diamond_adds_up():
    x = leaf(3)
    a = x * 2
    (a * a + a * 3 + x).backward(np.ones(3))
    np.testing.assert_allclose(x.grad, 8 * x.data + 6 + 1)


def test_gradients_of_leaves_add_up_over_calls_and_belong_to_the_caller():
    x = leaf(3)
    g = np.ones(3)
    (x + 0).backward(g)
    x.grad += 1  # must not reach g
    (x * 1).backward(g)
    np.testing.assert_array_equal(g, np.ones(3))
    np.testing.assert_array_equal(x.grad, [3, 3, 3])


def test_two_leaves_never_share_one_gradient():
    a, b = leaf(3), leaf(3)
    (a + b).backward(np.ones(3))
    a.grad += 1
    np.testing.assert_array_equal(b.grad, np.ones(3))


def test_a_gradient_is_copied_only_if_it_is_somebody_elses():
    """A leaf may have what its op has made; not what the caller gave, another leaf has, or a view of either."""
    made = []

    @op
    def double(x):
        def dx(g):
            made.append(2 * g)
            return made[-1]

        return 2 * x, (dx,)

    seed = np.ones((2, 3))
    x = leaf(2, 3)
    double(x).backward(seed)
    assert x.grad is made[0]

    a, b, c, d = leaf(2, 3), leaf(2, 3), leaf(3, 2), leaf(2, 3)
    (a + (b + ops.reshape(c, shape=(2, 3))) + d).backward(seed)
    grads = [seed, *(t.grad for t in (a, b, c, d))]
    for i, one in enumerate(grads):
        assert not any(np.shares_memory(one, other) for other in grads[:i])


@pytest.mark.parametrize("shape", [(3,), (700, 1500), (2, 3, 4)])
def test_gradients_are_added_up_alike_in_blocks_and_plainly(shape):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    expected = a + b
    for left, right in ((a, b), (a.T.copy().T, b), (a, np.repeat(b[..., None], 2, -1)[..., 0])):
        np.testing.assert_array_equal(add_up(left, right, out=np.empty(shape, np.float32)), expected)
    add_up(a, b, out=a)
    np.testing.assert_array_equal(a, expected)


def test_ten_thousand_ops_deep():
    x = leaf(1)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    np.testing.assert_array_equal(x.grad, [1])


def test_memory_falls_on_the_way_back():
    """When the gradient reaches the first op, the results of all the later ones are gone."""
    results = []
    seen = []

    @op
    def watch(x):
        def dx(g):
            gc.collect()
            seen.append(sum(r() is not None for r in results))
            return g

        return x + 0, (dx,)

    y = watch(leaf(1000))
    for _ in range(5):
        y = ops.tanh(y)
        results.append(weakref.ref(y.data))
    y.backward(np.ones(1000))
    # `y` is still ours; the four between it and the start are not.
    assert seen == [1]


def test_a_spent_record_gives_nothing_and_no_error():
    x = leaf(3)
    a = x * 2
    y = a * a
    y.backward(np.ones(3))
    first = x.grad
    y.backward(np.ones(3))
    assert x.grad is first and a.grad is None


def test_no_grad_leaves_no_record():
    x = leaf(3)
    with no_grad():
        y = x * 2
    assert not y.requires_grad
    assert (x * 2).requires_grad


def test_constants_leave_no_record():
    kept = weakref.ref(c := np.ones(100))
    y = ops.relu(Tensor(c))
    del c
    assert not y.requires_grad and kept() is None


def test_numbers_keep_float32():
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    y = 1 - 2 * x / 3 + 0.5
    y.backward(np.ones(2, np.float32))
    assert y.dtype == x.grad.dtype == np.float32


def test_operators():
    a, b = leaf(2, 2), leaf(2, 2)
    for got, expected in [
        (a + b, a.data + b.data),
        (1 + a, 1 + a.data),
        (a - b, a.data - b.data),
        (1 - a, 1 - a.data),
        (a * b, a.data * b.data),
        (2 * a, 2 * a.data),
        (a / b, a.data / b.data),
        (1 / a, 1 / a.data),
        (-a, -a.data),
        (a @ b, a.data @ b.data),
        (a.data + b, a.data + b.data),
        (a.data - b, a.data - b.data),
        (a.data * b, a.data * b.data),
        (a.data / b, a.data / b.data),
        (a.data @ b, a.data @ b.data),
    ]:
        assert isinstance(got, Tensor)
        np.testing.assert_allclose(got.data, expected)


def test_a_tensor_by_name_is_refused():
    with pytest.raises(TypeError, match="conv2d: b is a tensor; give it by its position"):
        ops.conv2d(leaf(1, 3, 3, 2), leaf(1, 1, 2, 4), b=leaf(4))


def test_backward_wants_one_number_or_a_gradient():
    with pytest.raises(ValueError, match=r"one number, got shape \(3,\)"):
        leaf(3).backward()
    with pytest.raises(ValueError, match=r"gradient of shape \(3,\), got \(2,\)"):
        leaf(3).backward(np.ones(2))


def test_repr_says_what_it_is():
    assert repr(leaf(2, 3)) == "Tensor(2, 3) float64, requires_grad"
