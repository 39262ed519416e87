"""Sends requests to the service and records what became of them: connections, calls, generator processes."""
