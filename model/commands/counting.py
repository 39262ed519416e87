"""Numbers of things, for messages."""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: `1 review`, `12,500 reviews`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
