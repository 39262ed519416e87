"""Why the model decides as it does: every word's exact share of the logit, and every number on the way to it."""
