"""Transformations of IR into better IR of the same meaning, one per file."""
