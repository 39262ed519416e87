"""HTTP/1.1 on top of uvicorn.

`server` creates the listener. `connection` is one connection, and `pacing` its base class, which parses and sends in
turns. A request either takes the `fast_path`, which bypasses ASGI, or goes through `asgi`; `request` is what both have
in common. `framing` checks heads, `headers` and `compression` are for responses, and `refusal` answers bytes that are
not a request.
"""
