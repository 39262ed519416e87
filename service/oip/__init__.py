"""The Open Inference Protocol without a transport.

`tensors` reads and writes the protocol's data, `inference` answers an infer request, `description` says what the server
and its models are. REST and gRPC each turn their messages into these and back.
"""
