"""The model versions that are served, and how they change while the service runs.

`repository` reads the versions on disk, and `mirror` copies those of a store, in the child process of an `update`.
`startup` chooses what the service starts with. Then `steps` computes the next change, and `reconciler` makes it with an
`order` to all workers and a `snapshot` of the files. `loaded` holds the classifiers of a worker, and `index` describes
them. `state` is what the protocols get: these models and the other parts of a worker.
"""
