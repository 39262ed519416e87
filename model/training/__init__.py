"""Training: from labelled texts to a run folder."""
