"""Shared by REST and gRPC connections: sockets, the listener, buffer limits and compression."""
