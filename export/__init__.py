"""From a trained network to a proved artifact for one target and precision."""

from s2tf_edge.export.options import ExportOptions
from s2tf_edge.export.pipeline import ExportPlan, ExportResult, export, plan_export, run_plan
from s2tf_edge.export.targets.base import TARGETS

__all__ = ["TARGETS", "ExportOptions", "ExportPlan", "ExportResult", "export", "plan_export", "run_plan"]
