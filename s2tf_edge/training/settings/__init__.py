"""The settings of a training run, one module a topic; ``TrainConfig`` has them all."""
