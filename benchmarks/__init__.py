"""Measurements, each with the command that reproduces it: `python -m benchmarks --help`."""
