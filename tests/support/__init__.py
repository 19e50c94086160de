"""What several tests use: plain references, cases, tiny networks and pictures, paths."""
