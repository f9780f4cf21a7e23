"""Timing claims, as ratios of two things measured in one run: `make benchmarks`."""
