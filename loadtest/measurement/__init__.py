"""The results of a step: latencies, failures, the service's metrics, the objective, and other load generators."""
