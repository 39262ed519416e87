"""Exact explanations of networks of the Conv1D family: every word's share of a logit."""
