"""Load tests of the service, and reports of what they found: `python -m loadtest`.

It needs nothing beyond what the service itself needs, but for `loadtest.locustfile`.
"""
