"""The model versions that are served, and how they change while the service runs."""
