"""What people read: the report, the comparison of two reports, the summary in a terminal."""
