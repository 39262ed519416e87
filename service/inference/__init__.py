"""From texts to predictions: data plane, admission control, batching and classifier. Independent of any protocol."""
