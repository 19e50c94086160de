"""Fast twins, on NumPy, of the primitives in `nanostyle.ops`: same name, same signature, float32."""
