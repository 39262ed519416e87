"""Load tests of the service, with reports: `python -m loadtest`.

The extra `loadtest` installs the additional libraries, and the extra `locust` those of `loadtest.locustfile`.
"""
