"""A fine-tuned MiniLM, the transformer that the shipped models are compared with."""
