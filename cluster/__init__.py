"""Serves models on a Ray cluster: the application of `service` in each replica of a Ray Serve deployment.

`application` defines the deployment and imports Ray. `replica` runs the REST application, the gRPC methods and the
core. `servicers` lists the gRPC methods for Ray's proxies, and `calls` runs one of them.
"""
