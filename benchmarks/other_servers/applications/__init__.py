"""The same classifier in five servers, each configured as its documentation recommends.

Every module is a program, `python -m benchmarks.other_servers.applications.NAME PORT WORKERS`. It runs in the
environment of its server, without this project's development dependencies.
"""
