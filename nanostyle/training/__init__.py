"""The training loop, its tasks and what it writes."""
