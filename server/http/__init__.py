"""HTTP/1.1 on top of httptools.

`server` creates the listener. `connection` is one connection, `parser` finds the parts of requests in its bytes, and
`cycle` is one request, from its first byte to the last byte of its answer. A request takes the `fast_path`, which
bypasses ASGI, or `asgi_run` runs the application for it; `asgi` is for applications, and `request` is what both paths
have in common. `framing` checks heads, `headers` and `compression` are for responses, `unread` is for slow readers, and
`refusal` answers bytes that are not a request.
"""
