"""Serves models on a Ray cluster: the REST application in each replica of a Ray Serve deployment.

`application` defines the deployment and imports Ray. `replica` is the application of one replica.
"""
