"""The page and the HTTP API: `nanostyle gui` and `nanostyle serve`."""
