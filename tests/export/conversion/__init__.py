"""Tests of the conversion of artifacts."""
