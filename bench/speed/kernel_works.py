"""What `kernels.py` measures: the same work by a kernel of ours and by PyTorch, with its bytes and operations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.speed.gpu import Work
from nanostyle.autograd.ops.conv import conv2d_dw, conv2d_dx, conv2d_forward
from nanostyle.autograd.ops.gram import gram_dx, gram_forward
from nanostyle.autograd.ops.math import squared_distance_da, squared_distance_forward
from nanostyle.autograd.ops.norm import normalize_backward, normalize_forward, statistics_of
from nanostyle.autograd.ops.pool import avg_pool_forward, max_pool_dx, max_pool_forward
from nanostyle.autograd.ops.variation import total_variation_dx, total_variation_forward
from nanostyle.backend.geometry import Geometry
from nanostyle.optim.adam import adam_steps

# Name: N, side of the picture, C, M, K, stride, upsample, mode.
CONVOLUTIONS = {
    "transformer conv1 9x9 3>32, 512": (1, 512, 3, 32, 9, 1, 1, "reflect"),
    "transformer conv2 3x3/2 32>64, 512": (1, 512, 32, 64, 3, 2, 1, "reflect"),
    "transformer conv3 3x3/2 64>128, 256": (1, 256, 64, 128, 3, 2, 1, "reflect"),
    "transformer residual 3x3 128>128, 128": (1, 128, 128, 128, 3, 1, 1, "reflect"),
    "transformer up1 2x 3x3 128>64, 128": (1, 128, 128, 64, 3, 1, 2, "reflect"),
    "transformer up2 2x 3x3 64>32, 256": (1, 256, 64, 32, 3, 1, 2, "reflect"),
    "transformer output 9x9 32>3, 512": (1, 512, 32, 3, 9, 1, 1, "reflect"),
    "vgg conv1_1 3x3 3>64, 4x256": (4, 256, 3, 64, 3, 1, 1, "zero"),
    "vgg conv1_2 3x3 64>64, 4x256": (4, 256, 64, 64, 3, 1, 1, "zero"),
    "vgg conv2_2 3x3 128>128, 4x128": (4, 128, 128, 128, 3, 1, 1, "zero"),
    "vgg conv3_2 3x3 256>256, 4x64": (4, 64, 256, 256, 3, 1, 1, "zero"),
    "vgg conv4_1 3x3 256>512, 4x32": (4, 32, 256, 512, 3, 1, 1, "zero"),
}
# Feature maps that no cache holds: N, H, W, C.
MAPS = {"4x512x512x64": (4, 512, 512, 64), "1x1080x1920x32": (1, 1080, 1920, 32)}
GRAMS = {"4x256x256x64": (4, 256, 256, 64), "4x64x64x256": (4, 64, 64, 256), "4x32x32x512": (4, 32, 32, 512)}


@dataclass(frozen=True)
class Pair:
    """Our work and PyTorch's, with their operations and bytes; `graph`: PyTorch's can be recorded too."""

    name: str
    ours: Work
    torch: Work
    flops: float = 0.0
    bytes: float = 0.0
    graph: bool = True


class Works:
    """Every kernel with its inputs, in one precision."""

    def __init__(self, cp: Any, torch: Any, precision: str) -> None:
        self.cp, self.torch = cp, torch
        self.half = precision == "fp16"
        self.rng = np.random.default_rng(0)
        self.bytes = 2 if self.half else 4

    def both(self, *shape: int) -> tuple[Any, Any]:
        """Random numbers as our array and, for pictures, the same as PyTorch's channels_last tensor."""
        host = self.rng.standard_normal(shape, np.float32).astype(np.float16 if self.half else np.float32)
        x = self.torch.from_numpy(host).cuda()
        return self.cp.asarray(host), x.permute(0, 3, 1, 2) if x.ndim == 4 else x

    def every(self) -> Iterator[Pair]:
        """All pairs, one at a time, so that memory holds one of them."""
        for name, shape in CONVOLUTIONS.items():
            yield from self.convolution(name, *shape)
        for name, (N, H, W, C) in GRAMS.items():
            yield from self.gram(name, N, H, W, C)
        for name, (N, H, W, C) in MAPS.items():
            yield from self.norm(name, N, H, W, C)
            yield from self.pool(name, N, H, W, C)
        yield from self.pictures(4, 1024, 1024)
        yield from self.adam()

    def convolution(
        self, name: str, N: int, side: int, C: int, M: int, K: int, stride: int, up: int, mode: Any
    ) -> Iterator[Pair]:
        """Forward with bias and ReLU, and both gradients."""
        cp, F = self.cp, self.torch.nn.functional
        at = Geometry(stride, K // 2, mode, up)
        H, W = at.output(side, side, K, K)
        x, xt = self.both(N, side, side, C)
        g, gt = self.both(N, H, W, M)
        host = (self.rng.standard_normal((K, K, C, M), np.float32) / (K * K * C) ** 0.5).astype(x.dtype)
        w, b = cp.asarray(host.astype(np.float32)), cp.zeros(M, np.float32)
        wt = self.torch.from_numpy(np.ascontiguousarray(host.transpose(3, 2, 0, 1))).cuda()
        wt = wt.contiguous(memory_format=self.torch.channels_last)
        bt = self.torch.zeros(M, dtype=xt.dtype, device="cuda")

        pad = 0 if mode == "reflect" else K // 2

        def enlarged(x: Any) -> Any:
            x = F.interpolate(x, scale_factor=up) if up > 1 else x
            return F.pad(x, (K // 2,) * 4, mode="reflect") if mode == "reflect" else x

        # PyTorch's own backward functions: autograd would run on a stream that a recorder does not see.
        aten = self.torch.ops.aten

        def backward(x: Any, which: list[bool]) -> Any:
            walk = ([stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1)
            return aten.convolution_backward(gt, x, wt, None, *walk, which)

        def dx() -> Any:
            small = F.interpolate(xt, scale_factor=up) if up > 1 else xt
            d = backward(enlarged(xt), [True, False, False])[0]
            d = aten.reflection_pad2d_backward(d, small, [K // 2] * 4) if mode == "reflect" else d
            return aten.upsample_nearest2d_backward(d, d.shape[2:], xt.shape) if up > 1 else d

        def dw() -> Any:
            return backward(enlarged(xt), [False, True, False])[1].permute(2, 0, 3, 1)  # for `flat`

        flops = 2.0 * N * H * W * M * C * K * K
        moved = self.bytes * (x.size + g.size + w.size)
        yield Pair(
            f"forward {name}",
            lambda: conv2d_forward(x, w, b, at=at, relu=True)[0],
            lambda: F.relu(F.conv2d(enlarged(xt), wt, bt, stride=stride, padding=pad)),
            flops,
            moved,
        )
        yield Pair(f"dx {name}", lambda: conv2d_dx(g, w, size=(side, side), at=at), dx, flops, moved)
        yield Pair(f"dw {name}", lambda: conv2d_dw(g, x, kernel=(K, K), at=at), dw, flops, moved)

    def gram(self, name: str, N: int, H: int, W: int, C: int) -> Iterator[Pair]:
        """Gram matrices and their gradient."""
        x, xt = self.both(N, H, W, C)
        flat = xt.permute(0, 2, 3, 1).reshape(N, H * W, C)
        g = self.cp.asarray(self.rng.standard_normal((N, C, C), np.float32))
        gt = self.torch.as_tensor(g.get()).cuda()
        scale = 1 / (H * W)

        def gradient() -> Any:
            s = ((gt + gt.transpose(1, 2)) * scale).to(flat.dtype)
            return self.torch.bmm(flat, s).reshape(N, H, W, C).permute(0, 3, 1, 2)

        flops, moved = 2.0 * N * H * W * C * C, self.bytes * x.size
        theirs: Work = lambda: self.torch.bmm(flat.transpose(1, 2), flat * scale)  # noqa: E731
        yield Pair(f"gram {name}", lambda: gram_forward(x), theirs, flops, moved)
        yield Pair(f"gram dx {name}", lambda: gram_dx(g, x), gradient, flops, 2 * moved)

    def norm(self, name: str, N: int, H: int, W: int, C: int) -> Iterator[Pair]:
        """Statistics; conditional instance norm with ReLU and residual; its gradients. PyTorch runs instance norm."""
        cp, torch = self.cp, self.torch
        x, xt = self.both(N, H, W, C)
        r, rt = self.both(N, H, W, C)
        scale, shift = (cp.asarray(self.rng.standard_normal((N, C), np.float32)) for _ in range(2))
        st, ht = (torch.as_tensor(v.get()).cuda()[:, :, None, None].to(xt.dtype) for v in (scale, shift))
        map_bytes = float(self.bytes * x.size)

        def statistics() -> Any:
            variance, mean = torch.var_mean(xt.float(), dim=(2, 3), correction=0)
            return mean, variance

        yield Pair(f"statistics {name}", lambda: statistics_of(x), statistics, 0.0, map_bytes)
        yield Pair(
            f"normalize, add, ReLU {name}",
            lambda: normalize_forward(x, scale, shift, r, relu=True),
            lambda: torch.relu(xt * st + ht + rt),
            0.0,
            3 * map_bytes,
        )
        leaf = xt.detach().requires_grad_(True)
        ones = torch.ones(C, dtype=xt.dtype, device="cuda")
        y = torch.nn.functional.instance_norm(leaf, weight=ones, eps=1e-5)
        mean, variance = statistics_of(x)
        rstd, gamma = 1 / cp.sqrt(variance + 1e-5), cp.ones((N, C), np.float32)
        yield Pair(
            f"normalize backward {name}",
            lambda: normalize_backward(r, x, None, mean, rstd, gamma, need_g=False)[0],
            lambda: torch.autograd.grad(y, leaf, rt, retain_graph=True)[0],
            0.0,
            5 * map_bytes,
            False,
        )

    def pool(self, name: str, N: int, H: int, W: int, C: int) -> Iterator[Pair]:
        """Max pooling and its gradient, average pooling."""
        F = self.torch.nn.functional
        x, xt = self.both(N, H, W, C)
        g, gt = self.both(N, H // 2, W // 2, C)
        y = max_pool_forward(x, size=2, stride=2)
        leaf = xt.detach().requires_grad_(True)
        yt = F.max_pool2d(leaf, 2)
        moved = self.bytes * x.size * 1.25
        yield Pair(
            f"max pool {name}",
            lambda: max_pool_forward(x, size=2, stride=2),
            lambda: F.max_pool2d(xt, 2),
            0.0,
            moved,
        )
        yield Pair(
            f"max pool dx {name}",
            lambda: max_pool_dx(g, x, y, size=2, stride=2),
            lambda: self.torch.autograd.grad(yt, leaf, gt, retain_graph=True)[0],
            0.0,
            self.bytes * x.size * 2.5,
            False,
        )
        yield Pair(
            f"average pool {name}",
            lambda: avg_pool_forward(x, size=2, stride=2),
            lambda: F.avg_pool2d(xt, 2),
            0.0,
            moved,
        )

    def pictures(self, N: int, H: int, W: int) -> Iterator[Pair]:
        """Total variation, distances."""
        cp, torch = self.cp, self.torch
        name = f"{N}x{H}x{W}x3"
        x, xt = self.both(N, H, W, 3)
        a, at = self.both(N, H, W, 3)
        one, each = cp.ones((), np.float32), cp.ones(N, np.float32)
        size = float(self.bytes * x.size)

        def variation(t: Any) -> Any:
            t = t.float()
            down, right = t[:, :, 1:] - t[:, :, :-1], t[:, :, :, 1:] - t[:, :, :, :-1]
            return ((down**2).sum() + (right**2).sum()) / t.numel()

        leaf = xt.detach().requires_grad_(True)
        loss = variation(leaf)
        work: Callable[..., Pair] = lambda what, *rest: Pair(f"{what} {name}", *rest)  # noqa: E731
        yield work("total variation", lambda: total_variation_forward(x), lambda: variation(xt)[None], 0.0, size)
        yield work(
            "total variation dx",
            lambda: total_variation_dx(one, x),
            lambda: torch.autograd.grad(loss, leaf, retain_graph=True)[0],
            0.0,
            2 * size,
            False,
        )
        yield work(
            "squared distance",
            lambda: squared_distance_forward(x, a, each)[0],
            lambda: ((xt - at).float() ** 2).sum()[None],
            0.0,
            2 * size,
        )
        yield work(
            "squared distance da", lambda: squared_distance_da(one, each, x, a), lambda: 2 * (xt - at), 0.0, 3 * size
        )

    def adam(self) -> Iterator[Pair]:
        """Adam's step for the parameters of the transformer, 1.7 million in 62 arrays; always float32."""
        torch = self.torch
        sizes = [
            (9, 9, 3, 32),
            (3, 3, 32, 64),
            (3, 3, 64, 128),
            *[(3, 3, 128, 128)] * 10,
            (3, 3, 128, 64),
            *[(128,)] * 48,
        ]
        ps, gs, ms, vs = ([self.cp.ones(s, np.float32) for s in sizes] for _ in range(4))
        theirs = [torch.ones(s, device="cuda", requires_grad=True) for s in sizes]
        for p in theirs:
            p.grad = torch.ones_like(p)
        optimizer = torch.optim.Adam(theirs, lr=0.0, fused=True, capturable=True)
        options = {"lr": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 1}

        def ours() -> Any:
            adam_steps(ps, gs, ms, vs, **options)
            return ps[0]

        def step() -> Any:
            optimizer.step()
            return theirs[0].flatten()

        numbers = sum(p.size for p in ps)
        yield Pair("adam 1.7 million numbers", ours, step, 0.0, 28.0 * numbers)
