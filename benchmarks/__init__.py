"""Benchmarks: programs, and a runner that times all sides interleaved in one process and states ratios."""
