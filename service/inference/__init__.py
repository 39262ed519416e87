"""From texts to predictions: the data plane, batching, admission control and the model, without a protocol."""
