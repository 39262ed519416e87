"""What gRPC's clients for Python use, as `make stubs` generates it. The service itself does without."""
