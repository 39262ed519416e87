"""A Conv1D text classifier that is trained with Keras and served over REST and gRPC with ONNX Runtime.

`service`, `protos`, `scoring`, `drift`, `cluster`, `model`, `export` and `model_repository` are links to the folders
beside this one. An installed package holds the folders themselves.
"""
