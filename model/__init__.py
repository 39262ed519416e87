"""Trains and evaluates the Conv1D text classifier. Needs the extra `train`, except to read and check data."""
