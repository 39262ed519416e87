"""Recognize the Conv1D family in a Keras model."""
