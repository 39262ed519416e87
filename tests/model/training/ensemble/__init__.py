"""Tests of `model.training.ensemble`."""
