"""The processes of the service: server, supervisor, workers, and the messages between them."""
