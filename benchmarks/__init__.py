"""Measurements for BENCHMARKS.md: whole processes on recorded data, each compared with a floor of the same run."""
