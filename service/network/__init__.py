"""What REST and gRPC connections share: sockets, the listener, buffer limits and compression."""
