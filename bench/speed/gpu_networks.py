"""Stylizing, a training step and Gatys' closure on one GPU, against PyTorch: `python -m bench.speed.gpu_networks`.

PyTorch runs as its users run it: channels_last, eager and under `torch.compile`, in float16 (autocast in training) or
with TF32. Stylizing is compiled with CUDA graphs (`reduce-overhead`; `max-autotune` takes minutes more). Before
anything is timed, both are compared with PyTorch in float32.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.speed.gpu import Work, machine, milliseconds, need_gpu, parser, write
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import Device, repeated
from nanostyle.backend.types import Array
from nanostyle.diagnostics.speed import gatys_objective, picture, transformer, vgg19
from nanostyle.nets.perceptual import LOSS_SCALE
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.module import move, parameters, state
from nanostyle.optim.loss_scale import LossScale
from nanostyle.optim.optimizer import Optimizer
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.style_task import StyleTask

GPU = Device("cuda")

STYLIZING = {"512x512": (512, 512), "1920x1080": (1080, 1920)}
# In ms, in float16: what a first version aims at, and what products and memory take at the full speed of an H200.
AIMS = {"stylize 512x512": (0.45, 0.115), "stylize 1920x1080": (3.5, 0.91), "training step 4x256x256": (4.0, 1.1)}
TOLERANCE = {"fp16": 3e-2, "tf32": 1e-2}
COLUMNS = (
    *("work", "precision", "nanostyle ms", "eager ms", "compiled ms"),
    *("ratio", "error", "eager error", "aim ms", "floor ms", "result"),
)


@dataclass(frozen=True)
class Race:
    """One work of all contestants: functions and first results by name; `exact` is the result in float32."""

    name: str
    runs: dict[str, Work]
    results: dict[str, np.ndarray]
    exact: np.ndarray


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    command = parser("gpu_networks", __doc__.splitlines()[0])
    command.add_argument("--precision", nargs="+", choices=("fp16", "tf32"), default=["fp16", "tf32"])
    compiled = "precisions at which torch.compile runs too: it takes minutes (default: fp16)"
    command.add_argument("--compiled", nargs="*", choices=("fp16", "tf32"), default=["fp16"], help=compiled)
    options = command.parse_args(arguments)
    cp, torch = need_gpu()
    report: dict[str, Any] = {"machine": machine(cp, torch), "rows": []}
    for precision in options.precision:
        Device("cuda", precision).use()
        allow_tf32(torch, True)
        torch.backends.cudnn.benchmark = True
        for make in (stylizing, training, gatys):
            for race in make(cp, torch, precision, compiled=precision in options.compiled):
                if options.only in race.name:
                    report["rows"].append(row(torch, race, precision, 5 if options.quick else 25))
                    print(report["rows"][-1], flush=True)
                    write(options.out, "gpu_networks", report, COLUMNS)
    if any("result" in entry for entry in report["rows"]):
        sys.exit("bench: some results differ from PyTorch's; see the table")


def row(torch: Any, race: Race, precision: str, rounds: int) -> dict[str, Any]:
    """Compare, then time. The ratio is against PyTorch's best: above 1, nanostyle is faster.

    A gradient in float16 is far from the one in float32, because ReLUs flip. Ours may be up to half as far again as
    PyTorch's.
    """
    error, theirs = (
        float(np.linalg.norm(race.results[name] - race.exact) / np.linalg.norm(race.exact))
        for name in ("nanostyle", "eager")
    )
    found: dict[str, Any] = {"work": race.name, "precision": precision, "error": error, "eager error": theirs}
    if precision == "fp16" and race.name in AIMS:
        found["aim ms"], found["floor ms"] = AIMS[race.name]
    if not (error <= TOLERANCE[precision] or error <= 1.5 * theirs < np.inf):
        return found | {"result": "differs: not timed"}
    runs = dict(race.runs)
    if compiled := runs.pop("compiled", None):
        try:
            for _ in range(2):  # it compiles, and then records
                compiled()
            runs["compiled"] = compiled
        except Exception as failure:
            found["compiled ms"] = f"failed: {type(failure).__name__}"
    times = dict(zip(runs, milliseconds(torch, list(runs.values()), rounds), strict=True))
    found |= {f"{name} ms": value for name, value in times.items()}
    return found | {"ratio": min(v for k, v in times.items() if k != "nanostyle") / times["nanostyle"]}


def allow_tf32(torch: Any, allowed: bool) -> None:
    """Allow or forbid PyTorch to round operands to TF32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def exactly(torch: Any, work: Work) -> Any:
    """The result of PyTorch's `work` in plain float32."""
    allow_tf32(torch, False)
    try:
        return work()
    finally:
        allow_tf32(torch, True)


def stylizing(cp: Any, torch: Any, precision: str, *, compiled: bool) -> Iterator[Race]:
    """A pass of the transformer, from a picture on the device to a picture on the device."""
    from bench.speed.torch_nets import Transformer, tensor

    for name, (H, W) in STYLIZING.items():
        net, photo = transformer(), picture(1, H, W)
        dtype = torch.float16 if precision == "fp16" else torch.float32
        model = Transformer(net).eval().cuda().to(memory_format=torch.channels_last)
        x = tensor(photo).cuda().to(memory_format=torch.channels_last)
        with torch.inference_mode():
            exact = _pictures(exactly(torch, lambda model=model, x=x: model(x))).ravel()  # type: ignore[misc]
        model, x = model.to(dtype=dtype), x.to(dtype=dtype)
        for value in state(net).values():
            value.flags.writeable = False  # as those of a model file are
        move(net, GPU)
        device_photo = cp.asarray(photo)

        def forward(x: Any, net: Any = net) -> Any:
            with no_grad():
                return net(Tensor(x)).data

        def theirs(model: Any, x: Any = x) -> Work:
            def run() -> Any:
                with torch.inference_mode():
                    return model(x)

            return run

        work = repeated(forward, GPU)
        runs: dict[str, Work] = {"nanostyle": lambda work=work, x=device_photo: work(x), "eager": theirs(model)}  # type: ignore[misc]
        if compiled:
            runs["compiled"] = theirs(torch.compile(model, mode="reduce-overhead", dynamic=False))
        for _ in range(3):
            found = runs["nanostyle"]()
        results = {"nanostyle": found.get().ravel(), "eager": _pictures(runs["eager"]()).ravel()}
        yield Race(f"stylize {name}", runs, results, exact)


def _our_step(
    cp: Any, net: TransformerNet, photos: Array, painting: Array, options: TrainOptions, *, adapts: bool
) -> Callable[[], Any]:
    """A recorded step of our training of `net`, with a loss scale that `adapts` or stays 1; it returns the loss."""
    objective = Objective(vgg19(device=GPU), options)
    task = StyleTask("feedforward", net, {"painting": painting[0]}, objective, device=GPU)
    trained = {name: p for name, p in parameters(net).items() if p.requires_grad}
    adam = Optimizer(trained, max_norm=options.clip, loss_scale=LossScale(adapts=adapts))

    def take(photos: Any, *, lr: Any, t: Any, scale: Any, **inputs: Any) -> Any:
        loss, _ = task.losses(photos, **inputs)
        loss.backward(scale)
        adam.step(lr=lr, t=t, scale=scale)
        return loss.data

    work, inputs, device_photos = repeated(take, GPU), task.inputs(0, len(photos)), cp.asarray(photos)

    def ours() -> Any:
        numbers = adam.numbers(options.lr)
        adam.t += 1
        return work(device_photos, **numbers, **inputs)

    return ours


def training(cp: Any, torch: Any, precision: str, *, compiled: bool) -> Iterator[Race]:
    """A whole step at 256 x 256, batch 4: both networks forward and backward, and Adam."""
    from bench.speed.torch_nets import Features, Transformer, perceptual_loss, tensor

    # PyTorch's side has the papers' losses.
    options, batch, size = TrainOptions(grid_weight=0), 4, 256
    net, network = transformer(), vgg19()
    photos, painting = picture(batch, size, size), picture(1, size, size, seed=1)
    model = Transformer(net).cuda().to(memory_format=torch.channels_last)
    features = Features(network).cuda().to(memory_format=torch.channels_last)
    grams = [torch.from_numpy(G).cuda() for G in Objective(network, options).grams(painting).values()]
    x = tensor(photos).cuda().to(memory_format=torch.channels_last)
    weights = {"content": options.content_weight, "style": options.style_weight / len(grams)}
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr, fused=True)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")

    def loss_of(model: Any, features: Any, half: bool) -> Any:
        with torch.autocast("cuda", torch.float16, enabled=half):
            with torch.no_grad():
                aim = features(x)[-1]
            found = features(model(x))
        # The sums of a Gram matrix are more than float16 holds.
        return perceptual_loss([f.float() for f in found], aim.float(), grams, weights)

    def step_of(model: Any, features: Any) -> Callable[[], Any]:
        def step() -> Any:
            optimizer.zero_grad()
            loss = loss_of(model, features, precision == "fp16")
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss

        return step

    ours = _our_step(cp, net, photos, painting, options, adapts=precision == "fp16")
    exact = _numbers(exactly(torch, lambda: loss_of(model, features, False)))
    results = {"nanostyle": ours().get().reshape(1).copy(), "eager": _numbers(step_of(model, features)())}
    runs: dict[str, Work] = {"nanostyle": ours, "eager": step_of(model, features)}
    if compiled:
        runs["compiled"] = step_of(*(torch.compile(part, dynamic=False) for part in (model, features)))
    yield Race(f"training step {batch}x{size}x{size}", runs, results, exact)


def gatys(cp: Any, torch: Any, precision: str, *, compiled: bool) -> Iterator[Race]:
    """Loss and gradient of a picture of 512 x 512: one evaluation of Gatys' method."""
    from bench.speed.torch_nets import Features, perceptual_loss, targets, tensor

    network, (H, W) = vgg19(), (512, 512)
    photo = picture(1, H, W)
    content, grams = targets(gatys_objective(network, picture(1, H, W, seed=1), picture(1, H, W, seed=2)))
    dtype = torch.float16 if precision == "fp16" else torch.float32
    features = Features(network).cuda().to(memory_format=torch.channels_last)
    x = tensor(photo).cuda().to(memory_format=torch.channels_last)
    aim, grams = content.cuda(), [G.cuda() for G in grams]
    scale = LOSS_SCALE if precision == "fp16" else 1.0

    def closure_of(features: Any, x: Any, scale: float) -> Work:
        x.requires_grad_(True)

        def closure() -> Any:
            x.grad = None
            loss = perceptual_loss([f.float() for f in features(x)], aim, grams, {"content": 1, "style": 1})
            (loss * scale).backward()
            return x.grad

        return closure

    exact = _pictures(exactly(torch, closure_of(features, x.clone(), 1.0))).ravel()
    features, x = features.to(dtype=dtype), x.to(dtype=dtype)
    on_gpu = [cp.asarray(picture(1, H, W, seed=i)) for i in (1, 2)]
    objective, device_photo = gatys_objective(vgg19(device=GPU), *on_gpu, device=GPU), cp.asarray(photo)
    runs: dict[str, Work] = {"nanostyle": lambda: objective(device_photo)[1], "eager": closure_of(features, x, scale)}
    if compiled:
        runs["compiled"] = closure_of(torch.compile(features, dynamic=False), x, scale)
    for _ in range(3):
        found = runs["nanostyle"]()
    results = {"nanostyle": found.get().ravel(), "eager": _pictures(runs["eager"]()).ravel() / scale}
    yield Race(f"gatys closure {H}x{W}", runs, results, exact)


def _pictures(x: Any) -> np.ndarray:
    return np.asarray(x.detach().float().permute(0, 2, 3, 1).cpu())


def _numbers(x: Any) -> np.ndarray:
    return np.asarray(x.detach().float().cpu()).reshape(1)


if __name__ == "__main__":
    main()
