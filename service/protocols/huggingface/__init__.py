"""The protocols of Hugging Face's clients and containers."""
