"""The command `drift`: compares a request log with the texts that a model was measured on, or with another log."""
