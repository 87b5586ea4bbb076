"""The exported classifier, which ONNX Runtime runs without torch."""
