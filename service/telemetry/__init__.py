"""Metrics, logs, traces, and the context of the current request."""
