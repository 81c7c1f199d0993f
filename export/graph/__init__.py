"""The ONNX graph of a network: our own operators, what targets support, how it is lowered, counted and written."""
