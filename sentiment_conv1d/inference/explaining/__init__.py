"""Explains decisions of the model: every word's exact share of the logit, and all intermediate values."""
