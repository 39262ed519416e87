"""What all command lines have in common: their parser, the default model repository, and hints about what to run."""
