"""Exported detectors, which ONNX Runtime runs without torch."""
