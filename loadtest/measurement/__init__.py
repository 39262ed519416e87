"""What a step of a test says: latencies, failures, the service's own metrics, an objective, other load generators."""
