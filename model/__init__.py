"""The Conv1D text classifier: what it is, how it reads text, how it learns.

The light half (`configuration`, `tokenizer`, `artifact`, `errors`) needs neither TensorFlow nor Keras and is what
`export` and `service` build on. The heavy half (`data`, `network`, `training`, `evaluation`, ...) needs the `train`
extra.
"""
