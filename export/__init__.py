"""From a trained network to a verified artifact for one target and precision."""

from typing import TYPE_CHECKING, Any

from s2tf_edge.export.options import ExportOptions

if TYPE_CHECKING:
    from s2tf_edge.export.pipeline import ExportResult, export, run_plan
    from s2tf_edge.export.plan import ExportPlan, plan_export
    from s2tf_edge.export.targets.registry import TARGETS

__all__ = ["TARGETS", "ExportOptions", "ExportPlan", "ExportResult", "export", "plan_export", "run_plan"]


def __getattr__(name: str) -> Any:
    # The options alone are declared in no time; what exports takes longer to import than --help takes to print.
    from s2tf_edge.export import pipeline, plan
    from s2tf_edge.export.targets import registry

    for module in (pipeline, plan, registry):
        if name in __all__ and name in module.__all__:
            return getattr(module, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
