"""Other programs' files of weights."""
