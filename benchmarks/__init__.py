"""Benchmarks: each beside a ceiling or a peer, in one run, as ratios. ``make bench`` prints them."""
