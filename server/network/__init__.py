"""What HTTP and gRPC connections share.

`sockets` binds the listening sockets. `listener` accepts connections and limits them,
and `turns` shares each turn of the event loop among them. `receiver` and `tls` pass them the bytes that arrive.
`buffers` counts the memory of requests, and `compression` decompresses content in steps.
"""
