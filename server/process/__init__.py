"""The processes of a server: the supervisor, the workers, the channel between them, and shared counters."""
