"""From a trained network to a verified artifact for one target and precision."""

from s2tf_edge.export.options import ExportOptions
from s2tf_edge.export.pipeline import ExportResult, export, run_plan
from s2tf_edge.export.plan import ExportPlan, plan_export
from s2tf_edge.export.targets.registry import TARGETS

__all__ = ["TARGETS", "ExportOptions", "ExportPlan", "ExportResult", "export", "plan_export", "run_plan"]
