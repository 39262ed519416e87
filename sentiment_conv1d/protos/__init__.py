"""The interfaces of the gRPC services: .proto files, and the messages that `make stubs` generates from them.

The messages of each file have a descriptor pool of their own, so that a process can also import Triton's client, which
declares the same names.
"""
