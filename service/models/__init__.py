"""Which model versions are served, and how that changes while the service runs."""
