"""TLS certificates and API keys."""
