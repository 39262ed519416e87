"""Models and vocabularies to export."""
