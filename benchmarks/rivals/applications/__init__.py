"""The same classifier behind five servers, each as its own documentation has one write it.

Every module is a program, `python -m benchmarks.rivals.applications.NAME PORT WORKERS`, that runs in the environment of
its server, which holds nothing of this project's development. `MODEL_FOLDER` says which model it serves.
"""
