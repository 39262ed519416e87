"""Measurements of this service against what is usually written, and against the floor of the machine.

`python -m benchmarks` prints every number that the documentation quotes, as Markdown.
"""
