"""gRPC's protocol over HTTP/2: connections, calls and their messages.

`http2` wraps the library that reads and writes frames. `connection` is one connection with its limits, `stream` one
request on it, `sender` what the streams of a connection send, `turns` what they share of the event loop, `unsupported`
what others than gRPC's clients are told. `call` is a stream of gRPC's, and `messages` frames and compresses what it
carries.
"""
