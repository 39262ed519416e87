"""The Open Inference Protocol.

`tensors` reads and writes the protocol's data, `inference` answers an inference request, and `description` describes
the server and its models. `rest` and `grpc` convert their messages to these types and back.
"""
