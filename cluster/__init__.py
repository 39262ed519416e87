"""Serves models on a Ray cluster: the application of `service` in each replica of a Ray Serve deployment.

`application` is the deployment, and imports Ray. `replica` is what a replica runs: the REST application, the gRPC
methods and the core. `servicers` tells Ray's proxies which gRPC methods there are, and `calls` runs one of them.
"""
