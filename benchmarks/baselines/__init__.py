"""The baselines of the comparison: the same model in competently written applications."""
