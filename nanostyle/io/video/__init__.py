"""Moving pictures: videos, animated GIF, WebP and PNG, and numbered frames, read and written frame by frame."""
