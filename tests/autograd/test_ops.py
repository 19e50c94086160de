"""Every row of the table: right, differentiable, indifferent to memory layout, free for frozen inputs."""

import inspect

import numpy as np
import pytest
from hypothesis import given

from nanostyle.autograd import ops
from nanostyle.autograd.gradcheck import gradcheck
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.nn import losses
from tests.support import reference
from tests.support.cases import CASES, Size, quick, reference_of, sizes, strided

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def inputs_of(case, size, seed=0):
    size = size._replace(H=max(size.H, case.least), W=max(size.W, case.least))
    return size, case.inputs(size, np.random.default_rng(seed))


def test_every_op_has_a_row_and_a_reference():
    names = {n for n, f in vars(ops).items() if getattr(f, "is_op", False)} | {"instance_norm", "palette"}
    names |= {n for n, f in vars(losses).items() if n.endswith("_loss") and inspect.isfunction(f)}
    assert names == {case.name for case in CASES}
    assert all(callable(getattr(reference, name)) for name in names)


@every_case
def test_no_gradient_is_an_array_that_the_op_was_given_or_has_returned(case):
    """It is the leaf's to keep: see `tensor.op`."""
    size, inputs = inputs_of(case, Size())
    tensors = [Tensor(a, requires_grad=i not in case.frozen) for i, a in enumerate(inputs)]
    y = case.function(size)(*tensors)
    seed, edges = np.ones(y.shape), y._edges
    options = [v for v in case.options_at(size).values() if isinstance(v, np.ndarray)]
    for _, vjp in edges:
        part = vjp(seed)
        assert not any(np.shares_memory(part, array) for array in (y.data, *inputs, *options))


@every_case
@quick
@given(size=sizes)
def test_equals_the_reference(case, size):
    size, inputs = inputs_of(case, size)
    y = case.function(size)(*map(Tensor, inputs))
    expected = reference_of(case)(*inputs, **case.options_at(size))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-10, atol=1e-10)


@every_case
@quick
@given(size=sizes)
def test_gradient_is_the_derivative(case, size):
    check = case.check(size)
    assert check.error < 1e-6, check


@every_case
def test_float32_in_float32_out(case):
    size, inputs = inputs_of(case, Size())
    leaves = [Tensor(x.astype(np.float32), requires_grad=i not in case.frozen) for i, x in enumerate(inputs)]
    y = case.function(size)(*leaves)
    y.backward(np.ones(y.shape, y.dtype))
    assert y.dtype == case.options_at(size).get("dtype", np.float32)
    assert {t.grad.dtype for i, t in enumerate(leaves) if i not in case.frozen} == {np.dtype(np.float32)}
    expected = case.function(size)(*map(Tensor, inputs)).data
    np.testing.assert_allclose(y.data, expected, rtol=1e-4, atol=1e-4)


@every_case
def test_memory_layout_does_not_matter(case):
    size, inputs = inputs_of(case, Size())
    f = case.function(size)
    plain = [Tensor(x, requires_grad=True) for x in inputs]
    spread = [Tensor(strided(x), requires_grad=True) for x in inputs]
    y, z = f(*plain), f(*spread)
    g = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(g)
    z.backward(strided(g))
    np.testing.assert_allclose(z.data, y.data, rtol=1e-12, atol=1e-12)
    for a, b in zip(plain, spread, strict=True):
        if a.grad is not None:
            np.testing.assert_allclose(b.grad, a.grad, rtol=1e-12, atol=1e-12)


@every_case
def test_inputs_are_left_as_they_were(case):
    size, inputs = inputs_of(case, Size())
    leaves = [Tensor(x.copy(), requires_grad=True) for x in inputs]
    y = case.function(size)(*leaves)
    g = np.random.default_rng(1).standard_normal(y.shape)
    kept = g.copy()
    y.backward(g)
    np.testing.assert_array_equal(g, kept)
    for leaf, x in zip(leaves, inputs, strict=True):
        np.testing.assert_array_equal(leaf.data, x)


@every_case
def test_a_frozen_input_costs_nothing_and_changes_nothing(case):
    size, inputs = inputs_of(case, Size())
    f = case.function(size)
    live = [i for i in range(len(inputs)) if i not in case.frozen]
    g = np.random.default_rng(1).standard_normal(f(*map(Tensor, inputs)).shape)

    def gradients(frozen):
        leaves = [Tensor(x, requires_grad=i in live and i != frozen) for i, x in enumerate(inputs)]
        y = f(*leaves)
        y.backward(g)
        return [t.grad for t in leaves]

    everything = gradients(None)
    for i in live:
        one_frozen = gradients(i)
        assert one_frozen[i] is None
        for j in live:
            if j != i:
                np.testing.assert_array_equal(one_frozen[j], everything[j])


@pytest.mark.parametrize("case", [c for c in CASES if not c.frozen], ids=str)
def test_an_input_used_twice_gets_both_gradients(case):
    size, inputs = inputs_of(case, Size())
    f = case.function(size)
    check = gradcheck(lambda *x: f(*x) * f(*x) + f(*x), inputs)
    assert check.error < 1e-6, check


@pytest.mark.parametrize("name", ["add", "mul"])
def test_both_arguments_may_be_the_same_tensor(name):
    op = getattr(ops, name)
    check = gradcheck(lambda t: op(t, t), [np.random.default_rng(0).uniform(0.5, 2, (2, 3))])
    assert check.error < 1e-6, check


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.conv2d(x, np.ones((3, 3, 2, 4))), r"conv2d: expected x \(N, H, W, C\).*\(2, 6, 5, 3\)"),
        (lambda x: ops.conv2d(x, np.ones((9, 9, 3, 4))), "picture of 6x5 .* smaller than the kernel of 9x9"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 3, 4)), np.ones(3)), r"b \(M,\), got .* and \(3,\)"),
        (lambda x: ops.conv_transpose2d(x, np.ones((3, 3, 3, 4)), output_pad=1), "output_pad from 0 to stride - 1"),
        (lambda x: ops.conv_transpose2d(x, np.ones((3, 3, 3, 4)), pad=9), "leaves"),
        (lambda x: ops.max_pool(x, size=7), "at least 7x7"),
        (lambda x: ops.crop(x, top=0, left=0, height=9, width=1), "not inside 6x5"),
        (lambda x: ops.cin(x, np.ones((4, 2)), np.ones((4, 2))), "cin: expected"),
        (lambda x: ops.cin(x, np.ones((4, 3)), np.ones((4, 3)), style=[0]), r"cin: expected style .* got shape \(1,\)"),
        (lambda x: ops.cin(x, np.ones((4, 3)), np.ones((4, 3)), style=[0, 4]), r"N = 2 .* S = 4 .*\(2,\), 0 to 4"),
        (lambda x: ops.cin(x, np.ones((4, 3)), np.ones((4, 3)), style=[-1, 0]), "-1 to 0"),
        (lambda x: ops.cin(x, np.ones((4, 3)), np.ones((4, 3)), style=np.ones((2, 3))), r"got shape \(2, 3\)"),
        (lambda x: ops.batch_norm(x, np.ones(2), np.ones(2)), r"expected gamma and beta \(3,\)"),
        (lambda x: ops.squared_distance(x, np.ones(3), weight=np.ones(2)), "one shape"),
        (lambda x: ops.concat(x, np.ones((2, 6, 4, 3))), "concat: expected shapes that differ in axis -1 alone"),
        (lambda x: ops.narrow(x, start=2, length=2), "2 values from 2 on are not among 3"),
        (lambda x: ops.matmul(x, np.ones(3)), "matmul: expected shapes"),
    ],
)
def test_wrong_shapes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.ones((2, 6, 5, 3))))


def test_variance_survives_a_large_mean():
    """E[x²] - E[x]² in float32 would give 0 here, or less."""
    x = (1000 + 0.1 * np.random.default_rng(0).standard_normal((1, 32, 32, 4))).astype(np.float32)
    _, variance = ops.norm.statistics_of(x)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axis=(1, 2)), rtol=1e-3)


def test_sigmoid_does_not_overflow():
    y = ops.sigmoid(Tensor(np.array([-1e4, 0.0, 1e4], np.float32)))
    np.testing.assert_array_equal(y.data, [0, 0.5, 1])


def test_cin_overwrites_what_is_spent_only_where_no_gradient_needs_it():
    rng = np.random.default_rng(0)
    x, gamma = (
        rng.standard_normal((1, 6, 5, 3), np.float32),
        Tensor(np.full((1, 3), 2.0, np.float32), requires_grad=True),
    )
    kept, beta = x.copy(), np.zeros((1, 3), np.float32)
    plain = ops.cin(x, gamma, beta)
    recorded = ops.cin(x, gamma, beta, spent=True)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(recorded.data, plain.data)
    with no_grad():
        np.testing.assert_array_equal(ops.cin(x, gamma, beta, spent=True).data, plain.data)
    np.testing.assert_array_equal(x, plain.data)
