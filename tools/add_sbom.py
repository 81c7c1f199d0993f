"""Puts a software bill of materials into wheels: what they depend on, in the versions that are installed here.

    python tools/add_sbom.py dist/*.whl

It lies in ``*.dist-info/sboms/`` (PEP 770), so that it is installed along and scanners find it; setuptools has no word
for that yet. What every installation brings is in scope ``required``, what an extra brings ``optional``. A package that
is not installed here, as one for another platform, is named without a version.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SBOM_FILE: Final = "sbom.cdx.json"


def main(wheels: Sequence[str]) -> None:
    """Adds one to each of these files."""
    for wheel in map(Path, wheels):
        _add(wheel)
        print(f"{wheel} has its SBOM")


def _add(wheel: Path) -> None:
    """Unpacks a wheel, and packs it anew, as its RECORD has the hash of every file."""
    with tempfile.TemporaryDirectory() as folder:
        _run_wheel("unpack", wheel, "--dest", folder)
        (unpacked,) = Path(folder).iterdir()
        (info,) = unpacked.glob("*.dist-info")
        (info / "sboms").mkdir(exist_ok=True)
        bom = make_bom(metadata.PathDistribution(info))
        (info / "sboms" / SBOM_FILE).write_text(JsonV1Dot6(bom).output_as_string(indent=1) + "\n", encoding="utf-8")
        _run_wheel("pack", unpacked, "--dest-dir", wheel.parent)


def _run_wheel(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "wheel", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def make_bom(distribution: metadata.Distribution) -> Bom:
    """The bill of materials of a distribution, of which nothing has to be installed but what it depends on."""
    name, extras = canonicalize_name(distribution.name), distribution.metadata.get_all("Provides-Extra") or []
    direct = [need for need in _needs(distribution, extras) if canonicalize_name(need.name) != name]
    required, graph = _reach(_needs(distribution, ())), _reach(direct)
    parts = {each: _describe(each, is_required=each in required) for each in sorted(graph)}
    root = _component(name, distribution, kind=ComponentType.APPLICATION)
    bom = Bom(components=parts.values())
    bom.serial_number = uuid5(NAMESPACE_URL, " ".join(str(part.purl) for part in (root, *parts.values())))
    built = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    bom.metadata.timestamp = datetime.fromtimestamp(int(built), timezone.utc)
    bom.metadata.component = root
    bom.register_dependency(root, [parts[canonicalize_name(need.name)] for need in direct])
    for each, below in graph.items():
        bom.register_dependency(parts[each], [parts[other] for other in sorted(below)])
    return bom


def _needs(distribution: metadata.Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    """What it asks for on this machine, with some of its extras."""
    wanted = ("", *extras)
    for need in map(Requirement, distribution.requires or ()):
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in wanted):
            yield need


def _reach(needs: Iterable[Requirement]) -> dict[str, set[str]]:
    """All packages that these lead to, each with those that it asks for itself."""
    found: dict[str, set[str]] = {}
    seen, left = set[tuple[str, frozenset[str]]](), list(needs)
    while left:
        need = left.pop()
        name = canonicalize_name(need.name)
        if (key := (name, frozenset(need.extras))) in seen:
            continue
        seen.add(key)
        installed = _find(name)
        below = [] if installed is None else list(_needs(installed, need.extras))
        found.setdefault(name, set()).update(canonicalize_name(each.name) for each in below)
        left += below
    return found


def _find(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _describe(name: str, *, is_required: bool) -> Component:
    scope = ComponentScope.REQUIRED if is_required else ComponentScope.OPTIONAL
    return _component(name, _find(name), scope=scope)


def _component(
    name: str,
    distribution: metadata.Distribution | None,
    *,
    kind: ComponentType = ComponentType.LIBRARY,
    scope: ComponentScope | None = None,
) -> Component:
    version = None if distribution is None else distribution.version
    spdx = [] if distribution is None else distribution.metadata.get_all("License-Expression") or []
    purl = PackageURL("pypi", name=name, version=version)
    licenses = [LicenseExpression(each) for each in spdx]
    return Component(
        name=name, version=version, type=kind, scope=scope, purl=purl, bom_ref=str(purl), licenses=licenses
    )


if __name__ == "__main__":
    main(sys.argv[1:])
