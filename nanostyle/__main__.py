"""`python -m nanostyle`."""

from nanostyle.cli import main

main()
