"""REST over the data plane.

`app` is the FastAPI application, with the list of protocols; `protocol` is what a protocol is, `endpoint` a fast-path
route, and `server` the HTTP/1.1 connection. All other modules are protocols, or routes of the service's own.
"""
