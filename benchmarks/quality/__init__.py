"""Ranking quality beside everything a team could pick instead: `python -m benchmarks.quality`."""
