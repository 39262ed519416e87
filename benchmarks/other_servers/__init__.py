"""Compares this service and the baselines with other model servers, all with the same classifier.

`python -m benchmarks.other_servers --install` creates an environment for each of them, and
`python -m benchmarks.other_servers` measures.
"""
