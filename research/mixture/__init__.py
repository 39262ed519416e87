"""The texts of a mixture of domains, the samples that an epoch reads, and another model's answers to them."""
