"""The REST application and its protocols.

`app` is the FastAPI application with the list of protocols. `protocol` defines what a protocol is, `endpoint` what a
fast-path route is, and `server` implements the HTTP/1.1 connection. All other modules are protocols or other routes.
"""
