"""The service: an artifact behind REST.

The core (`engine`, `classifier`, `repository`, `dataplane`) knows no HTTP; `rest` is a thin adapter over it. Nothing
here imports TensorFlow, Keras, `export` or the training half of `model`.
"""
