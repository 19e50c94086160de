"""Devices, memory, threads, and the implementations that compute on arrays."""
