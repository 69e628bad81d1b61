"""Measures WeGit on the machine it runs on: `python -m benchmarks`."""
