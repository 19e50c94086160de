"""Each CUDA kernel against PyTorch (cuDNN, cuBLAS) on one GPU: `python -m bench.speed.kernels`.

Results are compared first, then timed by CUDA events, within CUDA graphs, in turns. Memory-bound kernels are given as
a share of the measured speed of a copy, matrix products as a share of the measured speed of a large product.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.speed.gpu import machine, milliseconds, need_gpu, of_ours, of_torch, parser, write
from bench.speed.kernel_works import Pair, Works
from nanostyle.backend.device import PRECISIONS, Device

COLUMNS = ("kernel", "precision", "error", "ms", "torch ms", "ratio", "GB/s", "TFLOP/s", "of peak", "result")
TOLERANCE = {"fp16": 5e-3, "tf32": 5e-3, "fp32": 1e-4}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    command = parser("kernels", __doc__.splitlines()[0])
    command.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    options = command.parse_args(arguments)
    cp, torch = need_gpu()
    report: dict[str, Any] = {"machine": machine(cp, torch), "rows": [], "copy_gb_s": copy_speed(cp, torch)}
    print(f"{report['machine']['card']}; a copy {report['copy_gb_s']:.0f} GB/s")
    for precision in options.precision:
        Device("cuda", precision).use()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
        peak = matrix_speed(torch, precision)
        for pair in Works(cp, torch, precision).every():
            if options.only not in pair.name:
                continue
            row = {"kernel": pair.name, "precision": precision, "error": error(pair)}
            if not row["error"] <= TOLERANCE[precision]:
                row["result"] = "differs: not timed"
            else:
                timed = [of_ours(cp, pair.ours), of_torch(torch, pair.torch) if pair.graph else pair.torch]
                ours, theirs = milliseconds(torch, timed, 3 if options.quick else 15)
                row |= {"ms": ours, "torch ms": theirs, "ratio": theirs / ours}
                row |= {"GB/s": pair.bytes / ours / 1e6, "TFLOP/s": pair.flops / ours / 1e9}
                row["of peak"] = row["TFLOP/s"] / peak if pair.flops else row["GB/s"] / report["copy_gb_s"]
            report["rows"].append(row)
            print(row, flush=True)
            write(options.out, "kernels", report, COLUMNS)
    if any("result" in row for row in report["rows"]):
        sys.exit("bench: some kernels differ from PyTorch; see the table")


def copy_speed(cp: Any, torch: Any) -> float:
    """GB/s of a copy within the device's memory, read and written."""
    a, b = (torch.empty(1 << 28, dtype=torch.float32, device="cuda") for _ in range(2))
    bytes_moved: int = 2 * a.nbytes
    return bytes_moved / milliseconds(torch, [lambda: b.copy_(a)], 9)[0] / 1e6


def matrix_speed(torch: Any, precision: str) -> float:
    """TFLOP/s of the product of two matrices of 8192 x 8192."""
    dtype = torch.float16 if precision == "fp16" else torch.float32
    a, b = (torch.randn(8192, 8192, dtype=dtype, device="cuda") for _ in range(2))
    return 2 * 8192**3 / milliseconds(torch, [lambda: torch.matmul(a, b)], 5, times=3)[0] / 1e9


def error(pair: Pair) -> float:
    """The distance of our result from PyTorch's, relative to the norm of PyTorch's."""
    ours, theirs = (flat(work()) for work in (pair.ours, pair.torch))
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-30))


def flat(result: Any) -> Any:
    """All numbers of a result in float64; the result may be of either library."""
    if isinstance(result, tuple | list):
        return np.concatenate([flat(part) for part in result])
    host = result.get() if hasattr(result, "get") else result.detach().permute(*channels_last(result)).cpu().numpy()
    return host.astype(np.float64).ravel()


def channels_last(x: Any) -> tuple[int, ...]:
    """The order of axes that turns PyTorch's layout into ours."""
    return (0, 2, 3, 1) if x.ndim == 4 else tuple(range(x.ndim))


if __name__ == "__main__":
    main()
