"""A loaded model: from texts to predictions and explanations, with ONNX Runtime. Knows no service and no protocol."""
