"""The CPU: fast implementations of primitives on NumPy, in float32, of the same names and signatures."""
