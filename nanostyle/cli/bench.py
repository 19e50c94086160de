"""`nanostyle bench`: time this machine."""

from collections.abc import Iterator
from pathlib import Path

import click

from nanostyle.backend.threads import set_threads, thread_count
from nanostyle.cli.flicker import flicker
from nanostyle.cli.options import PATH, debug_option
from nanostyle.diagnostics import speed
from nanostyle.errors import with_hint
from nanostyle.io.pictures import load_short
from nanostyle.methods.speed_up import ITERATIONS, SIZES, SpeedUp, speed_ups
from nanostyle.models.load import load_model
from nanostyle.models.loss_network import loss_network

_LIMIT = 100
"""Iterations that Gatys' method gets to be as good as one pass: Johnson 2016, figure 5, has 50 to 100."""


@click.group()
def bench() -> None:
    """Time this machine, and measure flicker."""


bench.add_command(flicker)


@bench.command()
@click.option("--paper", is_flag=True, help="One pass against Gatys' method: Johnson 2016, table 1.")
@click.option("--photo", type=PATH, help="With --paper: a photo, for the speed-up at equal loss.")
@click.option("--painting", type=PATH, help="With --photo: the painting.")
@click.option("--model", metavar="NAME|FILE", help="With --photo: the trained model. Default: any.")
@click.option("--loss-net", metavar="NAME|FILE", help="With --photo: the loss network. Default: builtin.")
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(32, 4096),
    multiple=True,
    default=SIZES,
    show_default=True,
    help="With --paper: side of the pictures; may be repeated.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How often each network runs; the median is printed.",
)
@click.option(
    "--threads", type=int, default=None, help="Number of threads. Default: all processors, or NANOSTYLE_THREADS."
)
@debug_option
def networks(
    paper: bool,
    photo: Path | None,
    painting: Path | None,
    model: str | None,
    loss_net: str | None,
    sizes: tuple[int, ...],
    rounds: int,
    threads: int | None,
    debug: bool,
) -> None:
    """Time the networks on the CPU with random weights, and compare them with its matrix product (GEMM).

    With --paper: what Johnson 2016 shows in table 1, on this machine. Without pictures the paper's network and VGG-19
    have random weights. With a photo and a painting a trained model and loss network are used, and the speed-up at
    equal loss is shown too.

    \b
    nanostyle bench networks --paper --photo photo.jpg --painting painting.jpg --loss-net vgg19
    """
    given = {"photo": photo, "painting": painting, "model": model, "loss_net": loss_net}
    if any(given.values()) and not (paper and photo and painting):
        option = next(name for name, value in given.items() if value)
        raise with_hint(ValueError(f"{option}: is for a trained model"), "give {paper}, {photo} and {painting} as well")
    set_threads(threads)
    click.echo(f"{thread_count()} threads, float32")
    if not paper:
        for row in speed.networks(rounds=rounds):
            click.echo(
                f"{row.name:<30}{row.milliseconds:10.1f} ms{row.gflops:10.0f} GFLOP/s{100 * row.share:8.0f} % of GEMM"
            )
        return
    if photo and painting:
        table = _trained(photo, painting, model or "any", loss_net or "builtin", sizes, rounds)
    else:
        table = _random(sizes, rounds)
    counts = "".join(f"{n:>9}" for n in ITERATIONS)
    click.echo(f"{'':9}{'one':>9}{'iterations of Gatys':>27}    {'times as fast as':>27}")
    click.echo(f"{'pixels':>9}{'pass':>9}{counts}    {counts}")
    for line in table:
        click.echo(_line(line, limit=_LIMIT if photo else 0))


def _line(row: SpeedUp, limit: int) -> str:
    """A row of the table: seconds, how many times as fast, and the same at equal loss."""
    seconds = "".join(f"{row.seconds(n):7.1f} s" for n in ITERATIONS)
    factors = "".join(f"{row.factor(n):7.0f} x" for n in ITERATIONS)
    equal = ""
    if limit:
        k = row.equal_loss
        equal = f"   not as good after {limit}" if k is None else f"   as good after {k}: {row.factor(k):.0f} x"
    return f"{row.size:9}{row.one_pass:7.2f} s{seconds}    {factors}{equal}"


def _random(sizes: tuple[int, ...], rounds: int) -> Iterator[SpeedUp]:
    """The paper's own networks with random weights: time does not depend on what they have learned."""
    click.echo("one pass: the network of Johnson 2016; Gatys' method: VGG-19 to relu4_1; random weights")
    net, (photo, painting) = speed.transformer(), speed.picture(2, max(sizes), max(sizes))
    return speed_ups(
        lambda x: speed.stylize(net, x[None])[0], photo, painting, speed.vgg19(), sizes=sizes, rounds=rounds
    )


def _trained(
    photo: Path, painting: Path, model: str, loss_net: str, sizes: tuple[int, ...], rounds: int
) -> Iterator[SpeedUp]:
    """A trained model in the style of `painting`; one that knows its styles is asked for that of the file's name."""
    click.echo(f"one pass: {model}; Gatys' method: {loss_net}")
    trained, network = load_model(model), loss_network(loss_net)
    content, art = (load_short(path, max(sizes)) for path in (photo, painting))
    named = len(trained.paintings) > 1
    style = trained.style(painting.stem if named else None if trained.styles else art)
    render = trained.renderer(style)
    return speed_ups(render, content, art, network, sizes=sizes, rounds=rounds, limit=_LIMIT)
