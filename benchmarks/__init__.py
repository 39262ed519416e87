"""Compares this service with typical applications.

`python -m benchmarks` prints their tables as Markdown.
"""
