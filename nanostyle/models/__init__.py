"""Trained networks: load, save, render."""
