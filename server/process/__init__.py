"""The processes of a server: the supervisor, its channel to the workers, their life signs and shared counters."""
