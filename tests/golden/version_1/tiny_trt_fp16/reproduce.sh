#!/bin/sh
# Makes this folder again.
set -eu
exec s2tf-export /models/tiny.onnx --target trt --precision fp16 --out /models/tiny_trt_fp16 --meta /models/tiny.json --defer-build
