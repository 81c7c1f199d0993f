"""From a trained network to a verified artifact for one target and precision."""

from typing import TYPE_CHECKING, Any

from s2tf_edge.export.options import ExportOptions

if TYPE_CHECKING:
    from s2tf_edge.export.pipeline import ExportResult, check_plan, export, run_plan
    from s2tf_edge.export.plan import ExportPlan, plan_export
    from s2tf_edge.export.sources.clips.description import describe_clips, write_description
    from s2tf_edge.export.targets.registry import TARGETS
    from s2tf_edge.export.triton.publication import Publication, Published, plan_publication, publish

__all__ = [
    "TARGETS",
    "ExportOptions",
    "ExportPlan",
    "ExportResult",
    "Publication",
    "Published",
    "check_plan",
    "describe_clips",
    "export",
    "plan_export",
    "plan_publication",
    "publish",
    "run_plan",
    "write_description",
]


def __getattr__(name: str) -> Any:
    # The options alone are declared in no time; what exports takes longer to import than --help takes to print.
    if name not in __all__:
        # Before anything is imported: importing a module of this package asks for its name here.
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from s2tf_edge.export import pipeline, plan
    from s2tf_edge.export.sources.clips import description
    from s2tf_edge.export.targets import registry
    from s2tf_edge.export.triton import publication

    modules = (pipeline, plan, description, registry, publication)
    return next(getattr(module, name) for module in modules if name in module.__all__)


def __dir__() -> list[str]:
    return __all__
