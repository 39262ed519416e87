"""What is sent, and where to: texts, requests, the service."""
