"""TensorFlow Serving's protocol, which KServe v1 and Vertex AI send as well."""
