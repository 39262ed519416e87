"""The texts and requests to send, and the service to send them to."""
