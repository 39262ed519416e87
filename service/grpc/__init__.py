"""The gRPC server and its services.

`server` owns the listener and the table of methods. `sentiment` is this project's own service, `oip` the Open Inference
Protocol, `tfserving` that of TensorFlow Serving, and `health` and `reflection` are gRPC's standard services. `methods`
contains what all methods share. The protocol itself is in `server/grpc`.
"""
