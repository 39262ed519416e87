"""Load tests of the service, and reports of what they found: `python -m loadtest`.

What it needs beyond the service's own libraries is the extra `loadtest`, and that of `loadtest.locustfile` is `locust`.
"""
