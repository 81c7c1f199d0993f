"""``torchrun … -m s2tf_edge.training``: s2tf-train in several processes or on several machines."""

import os

# What is written for developers of torch, such as whether all parameters had gradients, a line a process.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from s2tf_edge.cli.train import main

if __name__ == "__main__":
    main()
