"""Benchmarks: they report ratios measured in one run, and assert none of them."""
