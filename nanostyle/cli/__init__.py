"""The command line. It reads arguments, shows progress, writes files; everything else is below."""

import gc
import sys
from importlib import import_module

import click

import nanostyle
from nanostyle.cli.ranks import end, take_part

# By a command's name: its file, its function, and its line in the help. A file is imported when its command is used.
COMMANDS = {
    "add-style": ("add_style", "add_style", "Teach a trained network new styles."),
    "bench": ("bench", "bench", "Time this machine, and measure flicker."),
    "evaluate": ("evaluate", "evaluate_command", "Score a trained network."),
    "export": ("export", "export", "Write a trained network as an ONNX file."),
    "gradcheck": ("diagnostics", "gradcheck", "Check every gradient."),
    "gui": ("gui", "gui", "Stylize photos on a page in the browser."),
    "info": ("diagnostics", "info", "Show versions, device, threads, and where the models are."),
    "serve": ("gui", "serve", "Serve the HTTP API without the page."),
    "style-map": ("style_map", "style_map_command", "Draw a map of similar styles."),
    "styles": ("styles", "styles", "List the styles of a trained network."),
    "stylize": ("stylize", "stylize", "Stylize photos."),
    "train": ("train", "train", "Train a network."),
    "video": ("video", "video", "Stylize a video, an animation, or numbered frames."),
    "weights": ("weights", "weights", "Get, convert and inspect weights; take other programs' networks."),
}


def main(args: list[str] | None = None) -> None:
    """Run the command line; never returns.

    Exit status 0, 2 for the user's errors, 1 for ours and for several photos of which some failed, 130 for Ctrl-C.
    """
    words = sys.argv[1:] if args is None else args
    try:
        take_part(words)
        status = command.main(args, prog_name="nanostyle", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        end(error, debug="--debug" in words)
    sys.exit(status if isinstance(status, int) else 0)  # that of click's Exit


class _Commands(click.Group):
    """The commands of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        file, function, _ = COMMANDS[cmd_name]
        found: click.Command = getattr(import_module(f"nanostyle.cli.{file}"), function)
        gc.enable()  # __main__ has halted it while modules are read
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "NANOSTYLE",
        "max_content_width": 100,
    },
)
@click.version_option(nanostyle.__version__, prog_name="nanostyle")
def command() -> None:
    """Give photos the style of paintings: neural style transfer from scratch, on NumPy and CuPy.

    \b
    nanostyle stylize photo.jpg --style-image painting.jpg
    """
