"""How accurate models are: the default training, and the shipped models."""
