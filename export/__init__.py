"""From a trained network to a proved artifact for one target and precision."""

from typing import TYPE_CHECKING, Any

from s2tf_edge.export.options import ExportOptions

if TYPE_CHECKING:
    from s2tf_edge.export.pipeline import ExportPlan, ExportResult, export, plan_export, run_plan
    from s2tf_edge.export.targets.base import TARGETS

__all__ = ["TARGETS", "ExportOptions", "ExportPlan", "ExportResult", "export", "plan_export", "run_plan"]


def __getattr__(name: str) -> Any:
    # The options alone are declared in no time; what exports takes longer to import than --help takes to print.
    if name == "TARGETS":
        from s2tf_edge.export.targets.base import TARGETS

        return TARGETS
    if name in __all__:
        from s2tf_edge.export import pipeline

        return getattr(pipeline, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
