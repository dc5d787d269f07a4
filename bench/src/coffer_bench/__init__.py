"""Benchmarks: Coffer beside the floor, in one run, as ratios."""
