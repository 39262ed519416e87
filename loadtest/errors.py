"""What can go wrong before a load test says anything."""


class LoadTestError(Exception):
    """Something that the user can mend; the message says what."""
