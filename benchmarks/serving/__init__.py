"""Compares the service with other applications under load: `python -m benchmarks.serving`."""
