"""Publishes artifacts in stores and hubs, and fetches them from there."""
