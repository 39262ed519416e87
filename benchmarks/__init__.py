"""Compares this service with typical applications, and with servers that only return a constant.

`python -m benchmarks` prints their tables as Markdown.
"""
