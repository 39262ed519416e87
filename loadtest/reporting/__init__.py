"""The results for people: the report, the comparison of two reports, and the summary."""
