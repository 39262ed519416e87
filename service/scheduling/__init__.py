"""From a request's texts to its predictions: limits, admission, batching and shadow versions. Knows no protocol."""
