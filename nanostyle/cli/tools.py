"""Floor 5: `nanostyle gradcheck`, `nanostyle bench` and `nanostyle info`."""

import platform
from collections.abc import Iterator

import click
import h5py
import numpy as np
import PIL
from threadpoolctl import threadpool_info

import nanostyle
from nanostyle import arrays, weightfile
from nanostyle.cases import check_all
from nanostyle.cli.options import debug_option
from nanostyle.methods.bench import networks as time_networks


@click.command()
@click.option("--seed", type=int, default=0, show_default=True)
@debug_option
def gradcheck(seed: int, debug: bool) -> None:
    """Compare every gradient with finite differences, in float64, and print the table."""
    rows = []
    for row in check_all(seed):
        rows.append(row)
        click.echo(f"{row.error:8.1e}  {'ok  ' if row.error < 1e-6 else 'FAIL'}  {row.name}")
    failed = [row for row in rows if not row.error < 1e-6]
    checks = sum(row.checks for row in rows)
    click.echo(f"{len(rows)} rows, {checks} checks, worst relative error {max(row.error for row in rows):.1e}")
    if failed:
        raise RuntimeError(f"{len(failed)} gradients are not the derivative: {', '.join(row.name for row in failed)}")


@click.group()
def bench() -> None:
    """Time this machine."""


@bench.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="The median counts.")
@click.option("--threads", type=int, default=None, help="Default: all processors, or NANOSTYLE_THREADS.")
@debug_option
def networks(rounds: int, threads: int | None, debug: bool) -> None:
    """Time the networks on the CPU, with random weights, and say how near they come to its matrix product."""
    arrays.set_threads(threads)
    click.echo(f"{arrays.threads()} threads, float32")
    for row in time_networks(rounds=rounds):
        click.echo(
            f"{row.name:<30}{row.milliseconds:10.1f} ms{row.gflops:10.0f} GFLOP/s{100 * row.share:8.0f} % of GEMM"
        )


@click.command()
@debug_option
def info(debug: bool) -> None:
    """Show versions, device, threads and the models found."""
    for label, value in _facts():
        click.echo(f"{label + ':':<15}{value}")


def _facts() -> Iterator[tuple[str, str]]:
    yield "nanostyle", nanostyle.__version__
    yield "python", platform.python_version()
    yield "numpy", np.__version__
    yield "pillow", PIL.__version__
    yield "h5py", h5py.__version__
    yield "cupy", arrays.cupy().__version__ if arrays.cupy() else "not installed"  # type: ignore[union-attr]
    yield "device", arrays.pick_device("auto")
    yield "threads", str(arrays.threads())
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            yield "blas", f"{pool['internal_api']} {pool['version']}, {pool.get('architecture', '')}"
    for name in weightfile.FILES:
        try:
            yield name, str(weightfile.find(name))
        except FileNotFoundError:
            yield name, "not found"
