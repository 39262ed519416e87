"""The HTTP/1.1 connection under uvicorn: limits, framing, the fast path, bodies, headers and compression."""
