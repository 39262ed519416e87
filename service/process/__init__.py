"""The processes of the service: server, supervisor, workers, and their messages."""
