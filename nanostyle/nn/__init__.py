"""Layers with parameters, and losses."""
