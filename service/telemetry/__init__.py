"""Metrics, logs, traces, and the context of the request that is being answered."""
