"""The REST application: what carries any protocol, and the routes for operators and of the page.

`app` is the FastAPI application. `protocol` defines what the REST side of a protocol is, and `endpoint` what an
endpoint is. `dispatcher` answers the requests for endpoints, which it finds in `routes`. `lifecycle` counts and logs
all requests, and `openapi` describes the routes.
"""
