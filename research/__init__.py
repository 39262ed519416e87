"""The recipes of the shipped models `accurate` and `reviews`, and the transformer that they are compared with."""
