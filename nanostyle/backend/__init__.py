"""Where arrays live, and who computes on them."""
