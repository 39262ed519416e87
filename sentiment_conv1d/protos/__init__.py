"""The interfaces of the gRPC services: .proto files, and the messages that `make stubs` generates from them."""
