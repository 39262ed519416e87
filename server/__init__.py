"""An HTTP/1.1 and gRPC server for several worker processes, which knows nothing about the application that it runs.

`network` contains what both protocols share: sockets, the listener, the turns of connections, and the accounting of
memory. `http` and `grpc` are the connections. `process` contains the supervisor, its channel to the workers, and their
shared memory.
"""
