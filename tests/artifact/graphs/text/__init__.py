"""Tests of the graphs that read texts."""
