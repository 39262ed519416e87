"""gRPC's protocol over HTTP/2: connections, calls and their messages.

`http2` wraps the library that reads and writes frames, `connection` is one connection with its limits, `turns` shares
the event loop among connections, `call` is one call, and `messages` frames and compresses what it carries.
"""
