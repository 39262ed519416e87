"""Converts an artifact to what other programs read. `command` is the command line, which lists the forms.

Nothing here needs TensorFlow.
"""
