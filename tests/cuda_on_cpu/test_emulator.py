"""The emulator sees what it is there to see: each class of fault, planted in a small kernel (`planted.cu`)."""

import ctypes

import numpy as np
import pytest

from tests.cuda_on_cpu import emulator
from tests.cuda_on_cpu.device import DeviceArray, FakeCupy
from tests.cuda_on_cpu.emulator import Finding, Kernel

pytestmark = pytest.mark.skipif(emulator.no_compiler is not None, reason=str(emulator.no_compiler))

cp = FakeCupy()
SOURCE = '#line 1 "planted.cu"\n' + (emulator.HERE / "planted.cu").read_text()


def run(name, *args, grid=(1,), block=(64,), shared=0):
    kernel = Kernel(SOURCE, name)
    kernel(grid, block, [np.int32(a) if isinstance(a, int) else a for a in args], shared_mem=shared)
    return kernel


def finds(pattern, *args, **kwargs):
    with pytest.raises(Finding, match=pattern):
        run(*args, **kwargs)


def array(n=64, dtype=np.float32):
    return DeviceArray(np.arange(n).astype(dtype))


# --- what works -------------------------------------------------------------------------------------------


def test_threads_blocks_barriers_and_shared_memory():
    y = cp.empty(128)
    run("reverse_blocks", array(128), y, grid=(2,))
    assert (y.host.reshape(2, 64) == np.arange(128).reshape(2, 64)[:, ::-1]).all()


def test_shuffles_exchange_within_a_warp():
    x = array()
    run("shuffles", x)
    i = np.arange(64)
    assert (x.host == (i ^ 1) + i // 32 * 32 + 5).all()


def test_dynamic_shared_memory_and_scalars():
    x = array()
    run("rotate", x, np.float32(0.5), 3, shared=256)
    assert (x.host == (np.arange(64) + 3) % 64 * 0.5).all()


@pytest.mark.parametrize("transposed", [0, 1])
def test_ldmatrix(transposed):
    """Lane i gets of each matrix the pair at (i / 4, 2 (i % 4)), or the same of the transpose."""
    y = cp.empty((32, 8), np.float16)
    run("matrices", array(256, np.float16), y, transposed, block=(32,))
    want = np.arange(256).reshape(4, 8, 8)
    want = want.swapaxes(1, 2) if transposed else want
    assert (y.host.reshape(8, 4, 4, 2).transpose(2, 0, 1, 3).reshape(4, 8, 8) == want).all()


def test_mma_multiplies_matrices():
    rng = np.random.default_rng(0)
    a, b, d = rng.standard_normal((16, 16)), rng.standard_normal((8, 16)), cp.empty((16, 8))
    a, b = (DeviceArray(m.astype(np.float16)) for m in (a, b))
    kernel = Kernel(SOURCE, "product_f16")
    kernel.bank_conflicts()
    kernel((1,), (32,), (a, b, d))
    np.testing.assert_allclose(d.host, a.host.astype(float) @ b.host.astype(float).T, rtol=1e-5, atol=1e-5)
    # Rows of 32 bytes, so a matrix of eight rows lies in four of the eight groups of banks: every read takes two.
    matrices, extra = kernel.bank_conflicts()
    assert matrices == extra > 0


def test_mma_in_tf32_has_ten_bits_of_mantissa():
    rng = np.random.default_rng(0)
    a, b = (DeviceArray(rng.standard_normal(s).astype(np.float32)) for s in ((16, 8), (8, 8)))
    d = cp.empty((16, 8))
    run("product_tf32", a, b, d, block=(32,))
    want = a.host.astype(float) @ b.host.astype(float).T
    error = np.abs(d.host - want).max()
    assert 1e-6 < error < 8 * 2**-10


def test_half_precision_rounds_as_numpy_does():
    library = Kernel(SOURCE, "uninitialized").library
    library.emu_half_to_float.restype = ctypes.c_float
    library.emu_float_to_half.argtypes = [ctypes.c_float]
    every = np.arange(1 << 16, dtype=np.uint16)
    ours = np.array([library.emu_half_to_float(int(h)) for h in every], np.float32)
    np.testing.assert_array_equal(ours, every.view(np.float16).astype(np.float32))
    with np.errstate(all="ignore"):
        halfway = (ours[:-1] + ours[1:]) / 2
        x = np.concatenate([np.random.default_rng(1).integers(0, 1 << 32, 4000, np.uint32).view(np.float32), halfway])
        x = x[np.isfinite(x)]
        want = x.astype(np.float16).view(np.uint16)
    assert (np.array([library.emu_float_to_half(float(f)) for f in x]) == want).all()


def test_copy_of_nothing_writes_zeros():
    x = array()
    run("copy_of_nothing", x, block=(1,))
    assert x.host[0] == 0


# --- faults -----------------------------------------------------------------------------------------------


def test_missing_barrier():
    nothing, shuffle, warp, block = range(4)
    for fence in (nothing, shuffle, warp):
        finds("race", "neighbor", array(), 32, fence)
    for fence in (nothing, shuffle):  # a shuffle promises nothing about memory
        finds("race", "neighbor", array(), 1, fence)
    run("neighbor", array(), 1, warp)
    run("neighbor", array(), 32, block)


def test_a_race_is_found_in_the_source():
    finds(r"thread \d+ at planted.cu:\d+, block 0 thread \d+ at planted.cu:\d+", "neighbor", array(), 32, 0)


def test_race_of_narrow_stores():
    run("narrow_stores", array(64, np.uint8), 1)
    finds("race, write after write", "narrow_stores", array(64, np.uint8), 2)


def test_race_between_blocks():
    run("sum_of_blocks", array())
    finds("race", "sum_of_blocks", array(), grid=(2,))


def test_copy_into_a_buffer_that_others_still_read():
    run("copy_too_early", array(), array(), 1)
    finds("race", "copy_too_early", array(), array(), 0)


def test_result_that_depends_on_the_order():
    """A ticket per thread, as an atomic counter gives: no race, and another result in each order."""
    finds("depends on the order", "order_of_arrival", array())


def test_out_of_bounds():
    run("write_at", array(), 0)
    finds("out of bounds: write of 4 bytes", "write_at", array(), 1)
    finds("out of bounds: write of 4 bytes", "write_at", array(), -1)
    finds("out of bounds: read of 4 bytes", "read_at", array(), 64, block=(1,))
    finds("out of bounds", "rotate", array(), np.float32(1), 0, shared=252)


def test_index_past_a_shared_array():
    finds("out of bounds: index 8 .* planted.cu:", "past_a_shared_array", array(), 8, block=(1,))


def test_uninitialized_memory_is_nan():
    x = array()
    run("uninitialized", x)
    assert np.isnan(x.host).all()
    assert np.isnan(cp.empty((3, 5), np.float16).host).all()


def test_copy_that_is_not_waited_for():
    good, bad = array(), array()
    run("copy_not_waited_for", good, 1, block=(1,))
    run("copy_not_waited_for", bad, 0, block=(1,))
    assert good.host[0] == 6
    assert np.isnan(bad.host[0])


def test_threads_that_do_not_meet():
    finds("early exit in block 0: 32 of 64 threads", "early_exit", array())
    finds("deadlock in block 0: thread", "different_barriers", array())
    finds("leaves the lane out", "outside_the_mask", array())
    run("reverse_blocks", array(), array())  # the next launch starts afresh


def test_misaligned_access():
    run("misaligned_word", array(), 4, block=(1,))
    finds("misaligned: access .* planted.cu:", "misaligned_word", array(), 1, block=(1,))
    finds("misaligned: cp.async", "misaligned_copy", array(), block=(1,))
    finds("misaligned: ldmatrix", "misaligned_matrices", array(), block=(32,))


def test_a_launch_is_checked():
    one = np.float32(1)
    finds("2 arguments for 3 parameters", "rotate", array(), one, shared=256)
    finds("parameter 1", "rotate", array(), 1, 1, shared=256)
    finds("parameter 1", "rotate", array(), np.float64(1), 1, shared=256)
    finds("parameter 0", "rotate", array(64, np.float16), one, 1, shared=256)
    finds("parameter 0", "rotate", np.zeros(64, np.float32), one, 1, shared=256)
    finds("65 threads in a block", "write_at", array(), 0, block=(65,))
    finds("no GPU takes a grid", "write_at", array(), 0, grid=(1, 65536))
    finds("bytes of shared memory", "rotate", array(), one, 1, shared=50000)


def test_arrays_of_the_device_do_not_mix_with_numpy():
    x = array(4)
    assert ((x + x).host == np.arange(4) * 2).all()
    with pytest.raises(TypeError, match="NumPy"):
        x + np.ones(4)
    with pytest.raises(TypeError, match="not allowed"):
        np.asarray(x)
