"""Floor 5: `nanostyle gradcheck` and `nanostyle info`."""

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
