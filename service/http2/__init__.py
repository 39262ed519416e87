"""The server's side of HTTP/2, as far as gRPC needs it."""
