"""A causal network one call at a time, as a graph that any runtime takes."""

from s2tf_edge.models.step.graph import StepGraph, describe_step

__all__ = ["StepGraph", "describe_step"]
