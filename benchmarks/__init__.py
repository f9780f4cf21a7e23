"""Timing claims, as ratios of two measurements in one run: `make benchmarks`."""
