"""An artifact as a model of Triton Inference Server: what the server reads, and what its clients must send."""
