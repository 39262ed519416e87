"""Tests of the wheel, the source distribution and their installation."""
