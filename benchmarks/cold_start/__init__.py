"""What items and users without any event are given: `python -m benchmarks.cold_start`."""
