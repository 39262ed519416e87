"""Attacks: raw bytes sent to a real worker, and their cost for the worker and other callers."""
