"""The service's own routes, and the service `sentiment.v1.Sentiment`."""
