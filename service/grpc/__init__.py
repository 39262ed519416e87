"""gRPC over the data plane.

`server` holds the connections and the table of methods, `sentiment` is this project's own service, `oip` the Open
Inference Protocol, `health` and `reflection` are gRPC's own. `call` is one call on an HTTP/2 stream, `methods` what
every method shares. `protos/` holds the .proto files and what `make stubs` makes of them: stubs of these two services,
and descriptors alone of gRPC's own, for which gRPC has stubs.
"""
