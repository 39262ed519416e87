"""The service beside other applications, under load: `python -m benchmarks.serving`."""
