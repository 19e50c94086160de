"""`nanostyle gradcheck` and `nanostyle info`."""

import platform
from collections.abc import Iterator

import click
import h5py
import numpy as np
import PIL
from threadpoolctl import threadpool_info

import nanostyle
from nanostyle.backend.device import cupy, pick_device
from nanostyle.backend.threads import thread_count
from nanostyle.cli.options import debug_option
from nanostyle.diagnostics.cases import check_all
from nanostyle.models.registry import FILES, find


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the test inputs.")
@debug_option
def gradcheck(seed: int, debug: bool) -> None:
    """Compare every gradient with finite differences in float64, and print a table."""
    rows = []
    for row in check_all(seed):
        rows.append(row)
        click.echo(f"{row.error:8.1e}  {'ok  ' if row.error < 1e-6 else 'FAIL'}  {row.name}")
    failed = [row for row in rows if not row.error < 1e-6]
    checks = sum(row.checks for row in rows)
    click.echo(f"{len(rows)} rows, {checks} checks, worst relative error {max(row.error for row in rows):.1e}")
    if failed:
        raise RuntimeError(f"{len(failed)} gradients are not the derivative: {', '.join(row.name for row in failed)}")


@click.command()
@debug_option
def info(debug: bool) -> None:
    """Show versions, device, threads, and where the models are."""
    for label, value in _facts():
        click.echo(f"{label + ':':<15}{value}")


def _facts() -> Iterator[tuple[str, str]]:
    yield "nanostyle", nanostyle.__version__
    yield "python", platform.python_version()
    yield "numpy", np.__version__
    yield "pillow", PIL.__version__
    yield "h5py", h5py.__version__
    yield "cupy", cupy().__version__ if cupy() else "not installed"  # type: ignore[union-attr]
    yield "device", str(pick_device())
    yield "threads", str(thread_count())
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            yield "blas", f"{pool['internal_api']} {pool['version']}, {pool.get('architecture', '')}"
    for name in FILES:
        try:
            yield name, str(find(name))
        except FileNotFoundError:
            yield name, "not found"
