"""This service and the naive application against other model servers, all with the same classifier.

`python -m benchmarks.rivals --install` makes an environment for each of them, `python -m benchmarks.rivals` measures.
"""
