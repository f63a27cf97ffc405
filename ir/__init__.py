"""The IR: types, core, text, verifier, interpreter, operations, passes, adjoint. Imports NumPy alone."""
