"""The gRPC protocol over HTTP/2: connections, calls and their messages.

`http2` wraps the library that reads and writes frames. `connection` is one connection, `deadlines` its time limits, and
`frame_limits` those on what its client sends. `stream` is one request on it, and `sender` sends the responses within
the flow-control windows. `call` is a stream that carries a gRPC call, and `inbox` the messages that it has received.
`messages` frames and compresses messages, and `status` is how errors are sent. `unsupported` answers clients that do
not speak gRPC.
"""
