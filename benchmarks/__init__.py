"""Measurements behind BENCHMARKS.md: whole processes on recorded data, each beside a floor of the same run."""
