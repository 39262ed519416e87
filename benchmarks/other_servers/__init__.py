"""This service and the naive application against other model servers, all with the same classifier.

`python -m benchmarks.other_servers --install` makes an environment for each of them, and
`python -m benchmarks.other_servers` measures.
"""
