"""Integers written into an ONNX graph as QuantizeLinear and DequantizeLinear."""
