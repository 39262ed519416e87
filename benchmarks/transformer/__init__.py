"""Compares the shipped models with a small transformer, MiniLM-L6, in process."""
