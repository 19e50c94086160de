"""Reverse-mode differentiation: tensors, ops, gradient checks."""
