"""Feedback: callers say which label was right, and the service knows which version predicted what."""
