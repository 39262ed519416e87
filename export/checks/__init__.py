"""Checks before an artifact is published: parity, quantization error and accuracy."""
