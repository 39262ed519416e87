"""The Conv1D text classifier: what it is, how it reads text, how it learns.

`export` and `service` build on the light half (`configuration`, `tokenizer`, `artifact`, ...), which needs neither
TensorFlow nor Keras. The other half (`data`, `training`, `evaluation`, `run`) needs the `train` extra.
"""
