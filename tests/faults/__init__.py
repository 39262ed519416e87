"""Fault injection: real processes, real faults, and every answer checked and counted."""
