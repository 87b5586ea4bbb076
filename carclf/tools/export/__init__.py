"""A model and its detector as ONNX files, and the proof that they answer the same."""
