"""`python -m nanostyle`, and the command `nanostyle`."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C is answered in one line from the first moment on, while modules are still read."""
    try:
        from nanostyle.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
