"""Evaluation: how good a trained model is, its calibration, and the report."""
