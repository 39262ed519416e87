"""The Open Inference Protocol, independent of the transport.

`tensors` reads and writes the protocol's data, `inference` answers an inference request, and `description` describes
the server and its models. REST and gRPC convert their messages to these types and back.
"""
