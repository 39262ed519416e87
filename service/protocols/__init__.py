"""The protocols that clients speak, in a folder each: `rest` and `grpc` translate it, and other modules are shared."""
