"""How a network of the Conv1D family decides: its numbers on the way to a logit, and every word's exact share of it."""
