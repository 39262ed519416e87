"""The gRPC server: what carries any protocol, and gRPC's standard services.

`server` owns the listener and the table of methods. `service` defines what the gRPC side of a protocol is, and
`methods` contains what all methods share. `health` and `reflection` are the standard services. gRPC itself is in
`server/grpc`.
"""
