"""gRPC over the data plane.

`server` starts and stops it, `sentiment` is this project's own service, `oip` the Open Inference Protocol, `call` what
every method shares. `protos/` holds the .proto files and what `make stubs` makes of them: stubs of these two services,
and descriptors alone of gRPC's own, for which gRPC has stubs.
"""
