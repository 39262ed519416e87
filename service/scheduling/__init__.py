"""From a request's texts to its predictions, without a protocol.

`dataplane` checks limits, makes the `work` of a request, and runs it: `admission` rejects it if too much waits, and
`batching` runs it together with other work on a `served` classifier. `parsing` spreads the parsing of requests over
turns.
"""
