"""Hostile callers: bytes written by hand to a real worker, and what they cost it and everyone else."""
