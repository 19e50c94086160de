"""The command line. It reads arguments, shows progress, writes files; everything else is below."""

import sys

import click

import nanostyle
from nanostyle.cli.add_style import add_style
from nanostyle.cli.diagnostics import bench, gradcheck, info
from nanostyle.cli.evaluate import evaluate_command
from nanostyle.cli.export import export
from nanostyle.cli.gui import gui, serve
from nanostyle.cli.style_map import style_map_command
from nanostyle.cli.styles import styles
from nanostyle.cli.stylize import stylize
from nanostyle.cli.terminal import fail
from nanostyle.cli.train import train
from nanostyle.cli.weights import weights


def main(args: list[str] | None = None) -> None:
    """Run the command line; never returns. Exit status 0, 2 for the user's errors, 1 for ours, 130 for Ctrl-C."""
    debug = "--debug" in (sys.argv[1:] if args is None else args)
    try:
        command.main(args, prog_name="nanostyle", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        fail(error, debug=debug)
    sys.exit(0)


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "NANOSTYLE",
        "max_content_width": 100,
    }
)
@click.version_option(nanostyle.__version__, prog_name="nanostyle")
def command() -> None:
    """Give photos the style of paintings: neural style transfer from scratch, on NumPy and CuPy.

    \b
    nanostyle stylize photo.jpg --style-image painting.jpg
    """


for member in (
    stylize,
    train,
    add_style,
    styles,
    style_map_command,
    evaluate_command,
    export,
    gui,
    serve,
    weights,
    gradcheck,
    bench,
    info,
):
    command.add_command(member)
