"""REST over the data plane.

`app` is the FastAPI application and the way in; `endpoint` is how a busy route is written, `native` are those of this
project, `operations` what operators and people look at.
"""
