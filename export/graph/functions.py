"""The operators of domain ``ai.s2tf``, version 1, each as an ONNX function over standard operators.

A node of one of them with its function in the file is a custom operator with a fallback: a runtime that has a kernel of
that name runs it, any other runs the body. Nodes within a body are named as the layers of the module they stand for, so
that the inlined graph has the names of the network.

Weights are inputs. What depends on the network's sizes are attributes, all of the lists of numbers that the operators
inside take: kernels may have been cut to what their input fills (see ``s2tf_edge.models.inference``). Of attributes in
a body, TensorRT-RTX 1.7 resolves references for a convolution's pads and a constant's value, but not for strides and
kernel shapes, so pooling and skipping frames stay outside.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import onnx
import onnx.parser
import onnx_ir as ir

__all__ = ["DOMAIN", "FUNCTION_OPSET", "VERSION", "function"]

DOMAIN: Final = "ai.s2tf"
VERSION: Final = 1
FUNCTION_OPSET: Final = 18
"""Opset of the standard operators in the bodies."""

_MINING_BLOCK: Final = """
  "blocks.{block}.reduce/Conv" = Conv ({x}, reduce{block})
  "blocks.{block}/Relu" = Relu ("blocks.{block}.reduce/Conv")
  "blocks.{block}.spatial/Conv" = Conv <pads: ints = @spatial_pads> ("blocks.{block}/Relu", spatial{block})
  "blocks.{block}/Relu_2" = Relu ("blocks.{block}.spatial/Conv")
  "blocks.{block}.temporal/Conv" = Conv <pads: ints = @temporal_pads> ("blocks.{block}/Relu_2", temporal{block})
  "blocks.{block}/Relu_3" = Relu ("blocks.{block}.temporal/Conv")
  "blocks.{block}.expand/Conv" = Conv ("blocks.{block}/Relu_3", expand{block})
  "blocks.{block}/Add" = Add ({x}, "blocks.{block}.expand/Conv")
  "blocks.{block}/Relu_4" = Relu ("blocks.{block}/Add")
"""

_BODIES: Final = {
    # features [N, C, T, H, W] → saliency [N, 1, T, H, W]; scale and shift [1] are the batch norm's.
    "SaliencyMining": """
SaliencyMining <spatial_pads, temporal_pads> (
  features, reduce0, spatial0, temporal0, expand0, reduce1, spatial1, temporal1, expand1, project, scale, shift
) => ("Sigmoid")
{"""
    + _MINING_BLOCK.format(block=0, x="features")
    + _MINING_BLOCK.format(block=1, x='"blocks.0/Relu_4"')
    + """
  "project/Conv" = Conv ("blocks.1/Relu_4", project)
  "Relu" = Relu ("project/Conv")
  "Mul" = Mul ("Relu", scale)
  "Add" = Add ("Mul", shift)
  "Sigmoid" = Sigmoid ("Add")
}
""",
    # pooled [N, 1, T, H / 2, W / 2], edge_input [N, 1, T, H, W] → pooled, weighed by the edge map.
    "FeaturePreserving": """
FeaturePreserving <pads0, pads1, pads2, pads4, pads5> (
  pooled, edge_input, conv0, conv1, conv2, conv3, conv4, conv5, conv6
) => ("Mul")
{
  "convs.0/Conv" = Conv <pads: ints = @pads0> (edge_input, conv0)
  "Relu" = Relu ("convs.0/Conv")
  "convs.1/Conv" = Conv <pads: ints = @pads1> ("Relu", conv1)
  "Relu_2" = Relu ("convs.1/Conv")
  "convs.2/Conv" = Conv <pads: ints = @pads2> ("Relu_2", conv2)
  "Relu_3" = Relu ("convs.2/Conv")
  "convs.3/Conv" = Conv ("Relu_3", conv3)
  "Relu_4" = Relu ("convs.3/Conv")
  "convs.4/Conv" = Conv <pads: ints = @pads4> ("Relu_4", conv4)
  "Relu_5" = Relu ("convs.4/Conv")
  "convs.5/Conv" = Conv <pads: ints = @pads5, strides = [1, 2, 2]> ("Relu_5", conv5)
  "Relu_6" = Relu ("convs.5/Conv")
  "convs.6/Conv" = Conv ("Relu_6", conv6)
  "Sigmoid" = Sigmoid ("convs.6/Conv")
  "Mul" = Mul (pooled, "Sigmoid")
}
""",
    # saliency [N, 1, T, H, W] → mask [N, 1, 1, H, W].
    "TemporalFusion": """
TemporalFusion (saliency, reduce, project) => ("project/Conv")
{
  "Transpose" = Transpose <perm = [0, 2, 1, 3, 4]> (saliency)
  "reduce/Conv" = Conv ("Transpose", reduce)
  "Relu" = Relu ("reduce/Conv")
  "project/Conv" = Conv ("Relu", project)
}
""",
    # x [N, C, T, H, W] → the same shape; scale [1] is 1 / √(C / 2), grid is [0, 0, T, H, W]. Attention, which is never
    # negative, comes first in its product: integer kernels take unsigned integers on the left only.
    "NonLocal": """
NonLocal <grid> (x, theta, theta_bias, phi, phi_bias, g, g_bias, out, out_bias, scale) => ("Add")
{
  "pool/MaxPool" = MaxPool <kernel_shape = [1, 2, 2], strides = [1, 2, 2]> (x)
  "theta/Conv" = Conv (x, theta, theta_bias)
  "phi/Conv" = Conv ("pool/MaxPool", phi, phi_bias)
  "g/Conv" = Conv ("pool/MaxPool", g, g_bias)
  "positions/Constant" = Constant <value_ints = [0, 0, -1]> ()
  "theta/Reshape" = Reshape ("theta/Conv", "positions/Constant")
  "phi/Reshape" = Reshape ("phi/Conv", "positions/Constant")
  "g/Reshape" = Reshape ("g/Conv", "positions/Constant")
  "Mul" = Mul ("theta/Reshape", scale)
  "Transpose" = Transpose <perm = [0, 2, 1]> ("Mul")
  "MatMul" = MatMul ("Transpose", "phi/Reshape")
  "Softmax" = Softmax <axis = 2> ("MatMul")
  "Transpose_2" = Transpose <perm = [0, 2, 1]> ("g/Reshape")
  "MatMul_2" = MatMul ("Softmax", "Transpose_2")
  "Transpose_3" = Transpose <perm = [0, 2, 1]> ("MatMul_2")
  "grid/Constant" = Constant <value_ints: ints = @grid> ()
  "Reshape" = Reshape ("Transpose_3", "grid/Constant")
  "out.conv/Conv" = Conv ("Reshape", out, out_bias)
  "Add" = Add (x, "out.conv/Conv")
}
""",
}


def function(name: str) -> ir.Function:
    """The body of operator ``name``, for ``model.functions``."""
    return ir.serde.deserialize_function(_proto(name))


@cache
def _proto(name: str) -> onnx.FunctionProto:
    header = f'<domain: "{DOMAIN}", opset_import: ["": {FUNCTION_OPSET}]>'
    proto = onnx.parser.parse_function(header + _BODIES[name])
    for node in proto.node:
        node.name = node.output[0]
    return proto
