"""The REST application and its protocols.

`app` is the FastAPI application with the list of protocols. `protocol` defines what a protocol is, and `endpoint` what
an endpoint is. `dispatcher` answers the requests for endpoints, which it finds in `routes`. `lifecycle` counts and logs
all requests, and `openapi` describes the routes. All other modules are protocols.
"""
