"""``torchrun … -m s2tf_edge.training``: s2tf-train in several processes or on several machines."""

from s2tf_edge.cli.train import main

if __name__ == "__main__":
    main()
