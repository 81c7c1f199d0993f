#!/bin/sh
# Builds the engine on the device that runs it, checks it against the network, and finishes this artifact.
set -eu
command -v s2tf-export > /dev/null || { echo "install s2tf-edge here, or activate its environment" >&2; exit 127; }
exec s2tf-export "$(cd "$(dirname "$0")" && pwd)" --target trt

# The engine alone, with NVIDIA's own tool:
# trtexec --onnx=model.onnx --saveEngine=model.engine --stronglyTyped --noTF32 --profilingVerbosity=detailed --skipInference
