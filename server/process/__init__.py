"""The processes of a server.

`supervisor` forks the workers, distributes connections and replaces workers that end. `worker_process` is its view of
a worker, and `control` the part of it that belongs to the application. `worker` runs the event loop of a worker.
`channel` carries their messages, and `counters` is their shared memory. `child` runs other work in a process with a
deadline. `heap`, `open_files` and `processors` concern the limits of one process.
"""
