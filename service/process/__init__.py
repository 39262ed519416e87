"""The processes of the service.

`server` starts the service: it loads the `core`, and starts the supervisor of the package `server` with its
`transactions`, which carry orders to all workers. `worker` answers requests with the core. `trial` reads and opens a
version in a child process first, and `copies` keeps the copies of a store up to date. `standalone` runs the core in
another ASGI server, and `probe` is the health check of containers.
"""
