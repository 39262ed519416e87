"""Measures how many mutants of the modules that matter the tests kill: `make mutants`."""
