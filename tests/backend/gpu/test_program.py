"""The whole program on a GPU, emulated or real: every op with its gradients, and what the methods make of them."""

import contextlib
import gc
import signal
from itertools import islice

import numpy as np
import pytest

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import (
    CPU,
    PRECISIONS,
    Device,
    ahead,
    pick_device,
    precision,
    repeated,
    to_device,
    to_host,
)
from nanostyle.backend.gpu import gemm, launch, weight_cache
from nanostyle.backend.gpu.graph import constant
from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import find_pictures
from nanostyle.io.resample import resize
from nanostyle.io.weights import load_weights
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.models.multistyle import Model
from nanostyle.models.predictor import Predictor
from nanostyle.nets.cost import loss_gradient, transformer_pass
from nanostyle.nets.perceptual import PerceptualLoss, PixelObjective, StyleTarget
from nanostyle.nets.predictor import ConvBackbone, PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn import losses
from nanostyle.nn.module import freeze, move, state
from nanostyle.training.loop import training_folder
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.style_task import StyleTask
from tests.cuda_on_cpu import cuda, device, emulator
from tests.cuda_on_cpu.cuda import Graph
from tests.support import tiny
from tests.support.cases import CASES, Size
from tests.support.networks import vgg_parts
from tests.support.train_tiny import training

GPU = Device("cuda")

pytestmark = pytest.mark.skipif(bool(emulator.no_gpu), reason=str(emulator.no_gpu))


@pytest.fixture(scope="module", autouse=True)
def built():
    emulator.build_all(emulator.VARIANTS)


@pytest.fixture(autouse=True)
def cp():
    with emulator.gpu() as module, emulator.one_order():
        yield module
    CPU.use()


@contextlib.contextmanager
def on_cpu():
    """Within the block precision is that of a CPU."""
    before = precision()
    CPU.use()
    yield
    Device("cuda", before).use()


@pytest.fixture(params=PRECISIONS, name="precision")
def each_precision(request):
    Device("cuda", request.param).use()
    return request.param


def close(a, b, tolerance):
    """The largest difference is that part of the largest value."""
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-3, np.abs(b).max()))


def close_pictures(a, b, tolerance):
    """The root of the mean square of the differences is a quarter of that part, and no pixel is off by twice of it.

    The largest difference of a thousand pixels is drawn from the tail of rounding: another photo, another number.
    """
    assert np.sqrt(np.mean((a - b) ** 2)) <= tolerance / 4
    close(a, b, 2 * tolerance)


# --- ops ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_op_and_its_gradients_are_those_of_the_cpu(case, cp):
    """In float32, against float64: with no implementation too, what runs is right for arrays of the device."""
    size = Size(H=max(6, case.least), W=max(5, case.least))
    inputs = case.inputs(size, np.random.default_rng(1))

    def run(xp, dtype):
        leaves = [Tensor(xp.asarray(x.astype(dtype)), requires_grad=True) for x in inputs]
        options = {k: xp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in case.options_at(size).items()}
        if "running" in options:
            options["running"] = tuple(map(xp.asarray, options["running"]))
        op = getattr(ops, case.name, None) or getattr(losses, case.name)
        y = op(*(leaf.data if i in case.frozen else leaf for i, leaf in enumerate(leaves)), **options)
        y = y[0] if isinstance(y, tuple) else y
        g = np.cos(np.arange(y.data.size)).reshape(y.shape).astype(str(y.dtype))
        y.backward(xp.asarray(g))
        return [y.data, *(leaf.grad for i, leaf in enumerate(leaves) if i not in case.frozen)]

    for got, want in zip(run(cp, np.float32), run(np, np.float64), strict=True):
        close(to_host(got), want, 2e-5)


# --- methods ------------------------------------------------------------------------------------------------


def transformer(arch="dumoulin", **options):
    """A trained network, as it were: gammas and betas are not 1 and 0."""
    net = tiny.to_float64(TransformerNet(transformer_config(arch, width=0.125, **options), np.random.default_rng(3)))
    for parameter in tiny.parameters(net).values():
        parameter.data = parameter.data.astype(np.float32)
    freeze(net)
    return net


TOLERANCE = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2}


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("johnson", {"norm": "batch", "upsample": "fractional"}),
        ("johnson", {"norm": "instance", "upsample": "nearest"}),
        ("dumoulin", {"styles": 3, "identity": True}),
    ],
)
def test_stylizing_once_and_again(arch, options, precision):
    """The first picture just runs, the second is recorded, the third launches the recording; then another size."""
    model = Model(net=transformer(arch, **options), styles=["photo", "a", "b"] if "styles" in options else ["a"])
    style, strength = (model.blend(["a", "b"], [1, 3]), 0.8) if "styles" in options else (None, 1.0)
    photos = [tiny.picture(np.random.default_rng(i), *size) for i, size in enumerate([(21, 18)] * 4 + [(12, 16)])]
    with on_cpu():
        wanted = [model.render(photo, style, strength=strength) for photo in photos]
    move(model.net, GPU)
    model.device = GPU
    render = model.renderer(style, strength=strength)
    for photo, want in zip(photos, wanted, strict=True):
        got = render(photo)
        assert got.dtype == np.float32
        close_pictures(got, want, TOLERANCE[precision])
    assert (render(photos[1]) == render(photos[1])).all()


def test_any_style(precision):
    rng = np.random.default_rng(0)
    net = PredictionNet(TransformerNet(transformer_config("ghiasi", width=0.125), rng), ConvBackbone(rng), rng)
    freeze(net)
    predictor = Predictor(net, 32)
    painting, photo = tiny.picture(np.random.default_rng(1), 33, 40), tiny.picture(np.random.default_rng(2), 20, 24)
    with on_cpu():
        want = predictor.render(photo, predictor.style(painting, name="a"))
    move(net, GPU)
    predictor = Predictor(net, 32, device=GPU)
    for _ in range(3):
        style = predictor.style(painting, name="a")
        close_pictures(predictor.render(photo, style), want, TOLERANCE[precision])


@pytest.mark.parametrize(("optimizer", "by_region"), [("lbfgs", False), ("lbfgs", True), ("adam", False)])
def test_gatys(optimizer, by_region, precision):
    photo, painting = (tiny.picture(np.random.default_rng(i), 16, 20) for i in range(2))
    options = GatysOptions(iterations=4, optimizer=optimizer, pyramid=False, **tiny.LAYERS)
    masks = [np.tri(16, 20, dtype=np.float32)] if by_region else None
    with on_cpu():
        want = list(gatys(photo, [painting], tiny.loss_network(mapped=True), options, masks=masks))
    got = list(gatys(photo, [painting], tiny.loss_network(device=GPU, mapped=True), options, masks=masks, device=GPU))
    assert len(got) == len(want)
    for i in range(2):
        close(got[i].loss, want[i].loss, TOLERANCE[precision])
    assert got[-1].loss < got[0].loss
    if precision == "fp32":
        close(got[-1].pixels, want[-1].pixels, 0.02)


# --- training -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny.write_pictures(folder / "photos", 4, size=(20, 24))
    tiny.write_pictures(folder / "styles", 2, size=(20, 24), seed=1)
    return folder / "photos", folder / "styles"


FEW = {
    "size": 12,
    "batch": 2,
    "width": 0.06,
    "ema": 0,
    "tv_weight": 0.1,
    "grid_weight": 10.0,
    "norm_rate": 1,
    "preview_every": 100,
    "checkpoint_every": 100,
}


@pytest.fixture
def low_scale(monkeypatch):
    """So low that the first step is taken already."""
    monkeypatch.setattr("nanostyle.optim.loss_scale.FIRST_SCALE", 2.0**8)


def losses_of(steps, count=4):
    """Of the first steps; then the training is stopped, which saves it. The last step of all would draw previews."""
    with contextlib.closing(steps):
        return [step.loss for step in islice(steps, count)]


def test_training_is_that_of_the_cpu(data, tmp_path, precision, low_scale):
    """Four steps: rows, weights and the photo's own style change from one to the next."""
    # Adam makes of a small gradient its sign: where that is not exact, let nothing move, and look at losses alone.
    few = FEW | {"lr": 1e-3 if precision == "fp32" else 1e-6}
    with on_cpu():
        want = losses_of(training(*data, tmp_path / "cpu.h5", **few))
    got = losses_of(training(*data, tmp_path / "gpu.h5", **few, device=GPU))
    close(got, want, {"fp32": 1e-3, "tf32": 0.03, "fp16": 0.03}[precision])


def test_two_trainings_and_a_resumed_one_end_with_the_same_bytes(data, tmp_path, low_scale):
    Device("cuda", "fp16").use()

    def run(name, **more):
        return training(*data, tmp_path / name, **FEW, device=GPU, **more)

    losses_of(run("a.h5"))
    losses_of(run("b.h5"))
    losses_of(run("c.h5"), 2)
    losses_of(run("c.h5", resume=True), 2)
    ends = [(training_folder(tmp_path / name) / "checkpoint.h5").read_bytes() for name in ("a.h5", "b.h5", "c.h5")]
    assert ends[0] == ends[1] == ends[2]


def checkpoint_bytes(output):
    return (training_folder(output) / "checkpoint.h5").read_bytes()


def checkpoint(output):
    return load_weights(training_folder(output) / "checkpoint.h5", "checkpoint")


def test_a_gradient_that_is_not_finite_halves_the_scale_and_moves_nothing(data, tmp_path, monkeypatch):
    """The first scale is far too large: until it is small enough no step is taken, and none counts in Adam's bias."""
    Device("cuda", "fp16").use()
    monkeypatch.setattr("nanostyle.optim.loss_scale.FIRST_SCALE", 2.0**12)

    def taken(name, count, **more):
        run = training(*data, tmp_path / name, steps=99, **FEW | {"ema": 0.9}, device=GPU, **more)
        with contextlib.closing(run) as steps:
            return [bool(np.isfinite(step.gradient)) for step in islice(steps, count)]

    assert taken("a.h5", 2) == [False, False]
    file = checkpoint(tmp_path / "a.h5")
    assert file.config["loss_scale"] == [2.0**10, 0]
    assert (file.config["step"], file.config["adam_step"]) == (2, 0)
    assert not any(value.any() for name, value in file.extras.items() if name.startswith(("m/", "v/")))
    for name, value in file.extras.items():
        if name.startswith("average/"):
            assert (value == file.parameters[name.removeprefix("average/")]).all()

    whole = taken("b.h5", 6)
    assert whole == sorted(whole) and whole[-1]
    file = checkpoint(tmp_path / "b.h5")
    assert (file.config["step"], file.config["adam_step"]) == (6, sum(whole))
    assert taken("a.h5", 4, resume=True) == whole[2:]
    assert checkpoint_bytes(tmp_path / "a.h5") == checkpoint_bytes(tmp_path / "b.h5")


@pytest.mark.skipif(emulator.REAL, reason="the stand-in sees who waits for it")
def test_a_step_is_one_recording_and_one_download(data, tmp_path, low_scale, monkeypatch):
    Device("cuda", "fp16").use()
    seen, load = [], launch.load
    for module in (device, cuda):
        monkeypatch.setattr(module, "synchronized", seen.append)
    monkeypatch.setattr(launch, "load", lambda file, name, defines: seen.append(name) or load(file, name, defines))
    steps = training(*data, tmp_path / "a.h5", steps=99, **FEW | {"ema": 0.9}, device=GPU)
    with contextlib.closing(steps):
        for _ in range(6):  # then both kinds of batch have been recorded: with the photo's own style and without
            seen.clear()
            next(steps)
        of_a_step = seen.copy()
    assert of_a_step.count("get()") == of_a_step.count("a graph launched") == 1
    # The thread that copies batches ahead waits too, for its own copy.
    assert {*of_a_step} - {"synchronize()"} == {"set()", "a graph launched", "get()"}


@pytest.mark.skipif(emulator.REAL, reason="it strikes where a graph is launched")
def test_ctrl_c_while_a_recorded_step_is_launched_waits_for_its_end(data, tmp_path, low_scale, monkeypatch):
    whole, left = Graph.launch, [3]

    def struck(graph):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        whole(graph)

    losses_of(training(*data, tmp_path / "whole.h5", **FEW, device=GPU), 8)
    monkeypatch.setattr(Graph, "launch", struck)
    with pytest.raises(KeyboardInterrupt, match="training stopped after step"):
        list(training(*data, tmp_path / "a.h5", **FEW, device=GPU))
    done = checkpoint(tmp_path / "a.h5").config["step"]
    losses_of(training(*data, tmp_path / "a.h5", **FEW, device=GPU, resume=True), 8 - done)
    assert checkpoint_bytes(tmp_path / "a.h5") == checkpoint_bytes(tmp_path / "whole.h5")


def test_running_averages_of_batch_norm_move_once_a_step(data, tmp_path):
    photos, styles = map(find_pictures, data)
    # A bias before a batch norm has a gradient of 0 but for rounding, and Adam moves it at random: here by nearly 0.
    options = TrainOptions(steps=3, norm="batch", lr=1e-6, **FEW, **tiny.LAYERS)

    def end(device):
        output = tmp_path / f"{device}.h5"
        list(train_feedforward(photos, styles[0], tiny.loss_network(device=device), options, output, device=device))
        return load_weights(training_folder(output) / "checkpoint.h5", "checkpoint").parameters

    cpu, gpu = end(CPU), end(GPU)
    averages = [name for name in cpu if "running" in name]
    assert averages
    for name in averages:
        close(gpu[name], cpu[name], 0.01)


# --- memory -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(emulator.REAL, reason="the stand-in counts to the byte")
def test_what_does_not_fit_is_refused_with_a_size_that_does(cp, monkeypatch):
    model = Model(net=transformer("johnson"), styles=["a"], device=GPU)
    move(model.net, GPU)
    photo = tiny.picture(np.random.default_rng(0), 40, 64)
    each = transformer_pass(model.net)
    monkeypatch.setattr(cp.cuda.runtime, "free", int(20 * 32 * each) + 1)
    with pytest.raises(NanostyleError, match=r"memory: 64x40 pixels need about .* use size 32, or device cpu"):
        model.render(photo)
    assert model.render(resize(photo, (20, 32))).shape == (20, 32, 3)


@pytest.mark.skipif(emulator.REAL, reason="the stand-in counts to the byte")
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_the_forecast_is_above_what_is_used_and_not_far(width, precision, monkeypatch):
    """Only memory counts, so the kernels do nothing and the pictures are as large as one likes."""
    monkeypatch.setattr(launch, "load", lambda *key: lambda *args, **more: None)
    net = TransformerNet(transformer_config("johnson", width=width), np.random.default_rng(0))
    network = tiny.loss_network(device=GPU)
    layers = [*tiny.LAYERS["content_layers"], *tiny.LAYERS["style_layers"]]
    photo = np.zeros((128, 160, 3), np.float32)
    move(net, GPU)
    model = Model(net=net, styles=["a"], device=GPU)
    objective = Objective(network, TrainOptions(**tiny.LAYERS))
    task = StyleTask("feedforward", net, {"a": photo}, objective, device=GPU)
    pixels = to_device(photo[None], GPU)
    loss = PerceptualLoss(network, **tiny.LAYERS, style_weight=60, tv_weight=0.1)
    closure = PixelObjective(loss, pixels, [StyleTarget(loss.grams(pixels))], device=GPU)
    inputs = {name: to_device(v, GPU) for name, v in task.inputs(0, 1).items() if name != "own"}

    with np.errstate(all="ignore"):
        used = [
            peak(lambda: model.render(photo)),
            peak(lambda: closure(pixels)),
            peak(lambda: task.losses(pixels, **inputs, own=False)[0].backward()),
        ]
    forecast = [transformer_pass(net), loss_gradient(network, layers), task.bytes_per_pixel()]
    shares = np.array(used) / (photo.size / 3) / forecast
    assert (shares > 0.6).all() and (shares < 1).all(), shares


def peak(work):
    """Bytes that `work` takes on top of what is there."""
    before = device.usage.most = device.usage.now
    work()
    return device.usage.most - before


# --- transfers ----------------------------------------------------------------------------------------------


def test_batches_are_uploaded_ahead():
    batches = [np.full((2, 3), i, np.float32) for i in range(5)]
    seen = [to_host(x).copy() for x in ahead(iter(batches), GPU)]
    np.testing.assert_array_equal(seen, batches)


def test_what_goes_wrong_with_a_batch_is_raised_where_it_is_wanted():
    def batches():
        yield np.zeros(3, np.float32)
        raise NanostyleError("no more")

    coming = ahead(batches(), GPU)
    next(coming)
    with pytest.raises(NanostyleError, match="no more"):
        next(coming)


def test_a_constant_of_recorded_work_has_memory_of_its_own(cp):
    """Not what a temporary of the same recording had before, which is written to again at every launch."""

    def work(x):
        y = x * 2
        del y
        return x + constant(np.arange(1000, dtype=np.float32))

    again = repeated(work, GPU)
    for i in range(4):
        x = np.full(1000, i, np.float32)
        np.testing.assert_array_equal(to_host(again(x)), x + np.arange(1000))


def test_work_goes_on_after_a_recording_that_failed(cp):
    def work(x, *, fails):
        if fails and len(calls) == 2:
            with contextlib.suppress(Exception):
                float(x.sum())  # no graph can come of it: to end the recording is an error too
            raise ValueError("in the middle of it")
        calls.append(None)
        return x * 2

    calls = []
    again, x = repeated(work, GPU), np.ones(3, np.float32)
    again(x, fails=True)
    calls.append(None)
    with pytest.raises(ValueError, match="in the middle"):
        again(x, fails=True)
    calls.clear()
    for _ in range(3):
        assert (to_host(again(x, fails=True)) == 2).all()


@pytest.mark.parametrize(
    "multiply",
    [
        lambda cp, x: x @ x,
        lambda cp, x: x.dot(x),
        lambda cp, x: cp.matmul(x, x),
        lambda cp, x: cp.tensordot(x, x, 1),
        lambda cp, x: cp.einsum("ij,jk", x, x),
    ],
)
def test_recorded_work_may_not_multiply_by_cublas(multiply, cp):
    work, x = repeated(lambda x: multiply(cp, x), GPU), np.ones((64, 64), np.float32)
    assert (to_host(work(x)) == 64).all()
    with pytest.raises(NotImplementedError, match="cuBLAS"):
        work(x)


def test_recorded_work_may_not_look_at_a_value(cp):
    work = repeated(lambda x: x * float(x.sum()), GPU)
    x = np.ones(3, np.float32)
    work(x)
    with pytest.raises(Exception, match="captur"):
        work(x)


@pytest.mark.parametrize("channels", [(5, 6), (2, 40), (40, 2)])
def test_weights_that_nothing_writes_to_are_packed_once(channels, monkeypatch):
    """For each direction and precision; also of few-channel layers, whose taps are channels."""
    packed = []

    def counted(file, kernel, *args, **options):
        packed.extend([kernel] * (kernel == "pack_weights"))
        launch.launch(file, kernel, *args, **options)

    monkeypatch.setattr(gemm, "launch", counted)
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 6, 7, channels[0]), (9, 9, *channels)))

    def both(weights, dtype=np.float32):
        picture = Tensor(to_device(x.astype(dtype), GPU), requires_grad=True)
        y = ops.conv2d(picture, weights, pad=4, mode="edge")
        y.backward(y.data)
        return to_host(y.data), to_host(picture.grad)

    trained = to_device(w, GPU)
    want = both(trained)
    assert len(packed) == 2
    both(trained)
    assert len(packed) == 4
    w.flags.writeable = False
    kept = to_device(w, GPU)
    for _ in range(3):
        for got, exact in zip(both(kept), want, strict=True):
            np.testing.assert_array_equal(got, exact)
    assert len(packed) == 6
    both(kept, np.float16)
    both(kept, np.float16)
    assert len(packed) == 8
    Device("cuda", "tf32").use()
    both(kept)
    both(kept)
    assert len(packed) == 10
    number = id(kept)
    assert number in weight_cache._caches
    del kept
    gc.collect()
    assert number not in weight_cache._caches


def test_what_is_derived_while_work_is_recorded_is_not_kept(cp):
    """It is in the recording's memory, and not computed yet."""
    settled = cp.asarray(np.arange(5, dtype=np.float32))
    weight_cache.mark_read_only(settled)
    again = repeated(lambda x: x + weight_cache.cached(settled, lambda: settled * 2, "twice", x.shape), GPU)
    for size in (5, 1):
        for i in range(3):
            x = np.full(size, i, np.float32)
            if i == 1:  # as if the first call had not been
                weight_cache._caches[id(settled)].clear()
            np.testing.assert_array_equal(to_host(again(x)), x + 2 * np.arange(5))
        assert not weight_cache._caches[id(settled)]


def test_a_backbone_that_is_on_the_gpu_already_stays_there():
    """`load_backbone` puts it there, then the whole network is moved."""
    config, parameters = vgg_parts()
    rng = np.random.default_rng(0)
    backbone = VggBackbone(config, parameters, device=GPU)
    net = PredictionNet(TransformerNet(transformer_config("ghiasi", width=0.125), rng), backbone, rng)
    weight = backbone.conv1_1.weight.data
    move(net, GPU)
    assert backbone.conv1_1.weight.data is weight
    assert all(hasattr(value, "get") for value in state(net).values())


def test_precision_is_for_gpus():
    with pytest.raises(NanostyleError, match="only a GPU has it; use precision fp32 or device cuda"):
        pick_device("cpu", "fp16")
    with pytest.raises(ValueError, match="precision: expected auto, fp32, tf32, fp16, got 'bf16'"):
        pick_device("cuda", "bf16")
    assert pick_device("cpu").precision == "fp32"
    assert pick_device("cuda").precision == "tf32"
