#!/bin/sh
# Makes this folder again.
set -eu
exec s2tf-export /models/tiny.onnx --target onnx --precision fp32 --out /models/tiny_onnx_fp32 --meta /models/tiny.json
