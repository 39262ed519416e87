"""The baselines of the comparison: typical applications."""
