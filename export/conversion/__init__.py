"""Converts an artifact to what other programs read. `command` is the command line, and `targets` lists the forms.

Nothing here needs TensorFlow.
"""
