"""The gRPC protocol over HTTP/2: connections, calls and their messages.

`http2` wraps the library that reads and writes frames. `connection` is one connection with its limits, and `stream` one
request on it. `sender` sends the responses of a connection within its flow-control windows. `call` is a stream that
carries a gRPC call, and `receiving` its receiving half. `messages` splits and compresses its messages. `unsupported`
answers clients that do not speak gRPC.
"""
