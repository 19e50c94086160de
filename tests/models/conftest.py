"""What the tests of models share."""

from tests.support.foreign_files import write  # noqa: F401 (a fixture)
