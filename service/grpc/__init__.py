"""The gRPC server: what carries any protocol, and gRPC's standard services.

`server` owns the listener and the table of methods. `health` and `reflection` are gRPC's standard services. `methods`
contains what all methods share. gRPC itself is in `server/grpc`.
"""
