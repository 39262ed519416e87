"""Sends requests to the service, and records their outcomes."""
