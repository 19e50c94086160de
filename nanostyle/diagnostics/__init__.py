"""Proofs and timings that a user can run: gradient cases, speed."""
