"""The .proto files, and the stubs that `make stubs` makes of them."""
