"""The baselines of the comparison: typical applications, and servers that return a constant."""
