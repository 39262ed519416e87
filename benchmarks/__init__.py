"""Measurements of this service against what is usually written, and against the floor of the machine.

`python -m benchmarks.serving` runs them all in one go, interleaved, and prints medians and ratios.
"""
