"""From texts to predictions: data plane, admission control, batching and the classifier, without a protocol."""
