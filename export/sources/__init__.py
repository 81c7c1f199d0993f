"""What can be exported: a ``model.pt``, or an ONNX file with a description of its clips."""
