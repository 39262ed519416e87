"""The teachers of a distillation: models of n-grams and of document vectors."""
