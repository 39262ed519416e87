"""Fuzz tests of every parser of external data: the result is an answer or an error, never a defect."""
