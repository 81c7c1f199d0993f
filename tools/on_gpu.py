"""Runs on an NVIDIA GPU what waits for one, and keeps what came of it; started by ``tools/on_gpu.sh``.

    --pack DIR    before, with a network: wheels for the machine with the GPU
    (nothing)     there: finds what is there, puts the wheels beside it, runs the groups of tests and the benchmark
    --show FILE   afterwards: prints the results of such a run, or writes them into a page
    --check       anywhere: everything but the GPU

OUT holds ``results.json``, written anew after each group, and a log a group. ``s2tf-report --merge`` takes
``results.json`` once artifacts were measured. It needs Python's own library alone; all else is looked for.
Exit code 0: all that could run passed; 1: something failed, or was not run; 3: no GPU; 2, 7, 9 as of the commands.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gpu_facts import count_gpus, find_facts
from gpu_groups import GROUPS, ROOT, Group, Outcome, pytest_words, run_group, run_logged
from gpu_wheels import SETS, install, pack, tell_sizes

BUDGET_SECONDS: Final = 570.0
"""A little less than ten minutes, after which many a borrowed machine ends what runs."""
FIGURES: Final = "figures"
PROVES: Final = "clips a second and energy of NL-I3D S2TF in every runtime, fp32, fp16 and int8 (benchmarks/gpu.py)"
_LEAST_SECONDS: Final = 20.0
_CHECK_SECONDS: Final = 900.0
_BEGIN, _END = "<!-- results of tools/on_gpu.sh -->", "<!-- end of results -->"


def main() -> int:
    """Runs one stage; returns the exit code."""
    arguments = _parse()
    # Else what ends this leaves on the GPU what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if arguments.pack:
        return _pack(arguments)
    if arguments.show:
        return _show(arguments.show, arguments.page)
    return check(arguments.out) if arguments.check else run(arguments)


def run(arguments: argparse.Namespace) -> int:
    """All groups, cheap and telling first, within the budget."""
    began = time.monotonic()
    if not count_gpus():
        print(
            "no NVIDIA GPU is here, or its driver does not answer: nothing was run; --check needs none", file=sys.stderr
        )
        return 3
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    site = out / "site"
    told = install(arguments.wheels, site) if arguments.wheels else []
    print(*told, sep="\n", flush=True)
    env = environment(site) | {"FAIL_WITHOUT_GPU": "1"}
    results: dict[str, Any] = {"facts": find_facts(env), "wheels": told, "groups": []}
    print(json.dumps(results["facts"], indent=1), flush=True)
    outcomes: list[Outcome] = []
    for group in (each for each in GROUPS if not arguments.only or each.name in arguments.only):
        left = arguments.budget - (time.monotonic() - began)
        outcomes.append(_attempt(group, out, seconds=left, env=env))
        write_results(out, results, outcomes)
    if not arguments.only or FIGURES in arguments.only:
        left = arguments.budget - (time.monotonic() - began)
        outcomes.append(measure(out, seconds=left, env=env, words=["--artifacts", str(arguments.artifacts)]))
        write_results(out, results, outcomes)
    print("\n".join(tabulate(outcomes)))
    print(f"results: {out / 'results.json'}")
    return int(any(outcome.is_bad for outcome in outcomes))


def measure(out: Path, *, seconds: float, env: dict[str, str], words: Sequence[str]) -> Outcome:
    """The benchmark, which writes ``figures.json`` as it goes."""
    outcome, began = Outcome(name=FIGURES, proves=PROVES), time.monotonic()
    if seconds < 3 * _LEAST_SECONDS:
        outcome.note = "not run: the budget was used up"
        return outcome
    # Half for building, and some for opening and for energy.
    limits = ["--build-seconds", f"{seconds / 2:.0f}", "--measure-seconds", f"{seconds / 4:.0f}"]
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--json", str(out / "figures.json"), *limits, *words]
    (out / "figures.json").unlink(missing_ok=True)
    (out / f"{FIGURES}.log").unlink(missing_ok=True)
    code = run_logged(command, out / f"{FIGURES}.log", seconds=seconds, env=env)
    rows = _read_json(out / "figures.json").get("artifacts", [])
    outcome.passed = sum(row["skipped"] is None for row in rows)
    for row in rows:
        if row["skipped"] is not None:
            outcome.skipped += 1
            outcome.reasons[row["skipped"]] = outcome.reasons.get(row["skipped"], 0) + 1
    if code is None:
        outcome.note = f"ended after {seconds:.0f} s; what was measured before is kept"
    elif code or not outcome.passed:
        outcome.note = f"ended with {code}, {outcome.passed} of {len(rows)} forms measured: {FIGURES}.log"
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def write_results(out: Path, results: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """``results.json``: a report of what was measured by now, and all else under ``gpu_run``."""
    values = _read_json(out / "figures.json") or {"schema_version": 1, "artifacts": []}
    values["gpu_run"] = results | {"groups": [outcome.to_dict() for outcome in outcomes]}
    aside = out / "results.json.part"
    aside.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(out / "results.json")


def tabulate(outcomes: Sequence[Outcome]) -> list[str]:
    """A row a group, then what failed and why others were skipped; Markdown, which reads well in a terminal too."""
    lines = ["| group | proves | passed | failed | skipped | s | note |", "|---|---|--:|--:|--:|--:|---|"]
    lines += [
        f"| {each.name} | {each.proves} | {each.passed} | {each.failed} | {each.skipped} | {each.seconds:.0f} "
        f"| {_cell(each.note)} |"
        for each in outcomes
    ]
    for each in outcomes:
        details = [f"- {each.name}: {count} skipped: {_cell(reason)}" for reason, count in each.reasons.items()]
        details += [f"- {each.name}: `{found['test']}` failed: {_cell(found['reason'])}" for found in each.failures]
        lines += ["", *details] if details else []
    return lines


def environment(site: Path) -> dict[str, str]:
    """Variables in which the project is imported from this folder, and missing packages from ``site``."""
    paths = [str(site), str(ROOT), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **own}


def check(out: Path) -> int:
    """Everything but the GPU: each test is in a group, groups run and are counted, figures are merged."""
    out = out.with_name(f"{out.name}-check")
    out.mkdir(parents=True, exist_ok=True)
    env = environment(out / "site")
    for variable in [name for name in env if name.startswith("FAIL_WITHOUT_")]:
        del env[variable]
    problems = _check_groups(env)
    facts = find_facts(env)
    print(json.dumps(facts, indent=1), flush=True)
    outcomes = [run_group(group, out, seconds=_CHECK_SECONDS, env=env) for group in (GROUPS[0], GROUPS[-1])]
    words = [
        "--device",
        "CPU",
        "--tiny",
        "--seconds",
        "0.5",
        "--runtimes",
        "onnx",
        "--artifacts",
        str(out / "artifacts"),
    ]
    outcomes.append(measure(out, seconds=_CHECK_SECONDS, env=env, words=words))
    write_results(out, {"facts": facts, "wheels": []}, outcomes)
    print("\n".join(tabulate(outcomes)))
    problems += [f"{each.name}: {each.note or each.failures[0]['reason']}" for each in outcomes if each.is_bad]
    problems += _check_merge(out, env)
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    print("all but the GPU works" if not problems else f"{len(problems)} problems")
    return int(bool(problems))


def _check_groups(env: dict[str, str]) -> list[str]:
    """Whether every test for a GPU is in one group, and every group has tests."""
    everything = _collect(Group(name="all", proves="", select=("tests",), seconds=0), env)
    by_group = {group.name: _collect(group, env) for group in GROUPS}
    print(", ".join(f"{name}: {len(tests)}" for name, tests in by_group.items()), flush=True)
    left_out = everything.difference(*by_group.values())
    problems = [f"{test} is in no group" for test in sorted(left_out)]
    problems += [f"{name} has no test" for name, tests in by_group.items() if not tests]
    twice = sum(map(len, by_group.values())) - len(set().union(*by_group.values()))
    return problems + ([f"{twice} tests are in two groups"] if twice else [])


def _collect(group: Group, env: dict[str, str]) -> set[str]:
    words = [*pytest_words(group), "--collect-only"]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return set(re.findall(r"^\S+::.+$", done.stdout, re.MULTILINE))


def _check_merge(out: Path, env: dict[str, str]) -> list[str]:
    """Whether ``s2tf-report --merge`` takes the results."""
    code = "from s2tf_edge.cli.report import main; main()"
    files = [str(out / "results.json"), str(out / "figures.json")]
    words = [sys.executable, "-c", code, "--merge", *files, "--out", str(out / "merged")]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    print(done.stdout.strip(), flush=True)
    return [f"--merge does not take the results: {done.stderr.strip()}"] if done.returncode else []


def _attempt(group: Group, out: Path, *, seconds: float, env: dict[str, str]) -> Outcome:
    print(f"{group.name}: {group.proves}", flush=True)
    if seconds < _LEAST_SECONDS:
        return Outcome(name=group.name, proves=group.proves, note="not run: the budget was used up")
    outcome = run_group(group, out, seconds=seconds, env=env)
    print(f"  {outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped {outcome.note}", flush=True)
    return outcome


def _pack(arguments: argparse.Namespace) -> int:
    failures = pack(arguments.pack, sets=arguments.sets, python=arguments.python, piece_mb=arguments.pieces)
    print("\n".join(tell_sizes(arguments.pack)))
    print(*failures, sep="\n", file=sys.stderr)
    return 7 if failures else 0


def _show(file: Path, page: Path | None) -> int:
    values = _read_json(file)
    if not isinstance(values.get("gpu_run"), dict):
        print(f"{file} holds no results of this script; give the results.json that it wrote", file=sys.stderr)
        return 9
    outcomes = [Outcome(**group) for group in values["gpu_run"]["groups"]]
    facts = values["gpu_run"]["facts"]
    lines = [
        f"{facts['gpu'] or 'no nvidia-smi'}; Python {facts['python']}; {_packages(facts)}",
        "",
        *tabulate(outcomes),
    ]
    if values["artifacts"]:
        sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
        from gpu import tabulate as tabulate_figures

        lines += ["", *tabulate_figures(values)]
    print("\n".join(lines))
    if page:
        before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if not begin or not end:
            print(f"{page} has no lines {_BEGIN} and {_END}", file=sys.stderr)
            return 9
        page.write_text("\n".join([before + begin, "", *lines, "", end + after]), encoding="utf-8")
    return 0


def _packages(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in facts["packages"].items())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="on_gpu.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*(group.name for group in GROUPS), FIGURES]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--check", action="store_true", help="everything but the GPU")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="fetch wheels into DIR")
    parser.add_argument("--sets", nargs="+", default=["core"], choices=[*SETS], help="with --pack: what to fetch")
    parser.add_argument("--python", default=here, help=f"with --pack: the other machine's Python; {here} unless given")
    parser.add_argument("--pieces", type=int, metavar="MB", help="with --pack: cut larger wheels into pieces")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print a results.json")
    parser.add_argument("--page", type=Path, help=f"with --show: write it between {_BEGIN} and {_END}")
    parser.add_argument("--wheels", type=Path, nargs="+", metavar="DIR", help="what --pack fetched")
    parser.add_argument("--out", type=Path, metavar="DIR", default=ROOT / "build/on_gpu", help="results and logs")
    parser.add_argument("--artifacts", type=Path, default=ROOT / "build/gpu", help="of benchmarks/gpu.py --build-only")
    parser.add_argument("--budget", type=float, metavar="SECONDS", default=BUDGET_SECONDS, help="for all of it")
    parser.add_argument("--only", nargs="+", choices=names, metavar="GROUP", help=f"of {', '.join(names)}")
    arguments = parser.parse_args()
    for folder in arguments.wheels or ():
        if not folder.is_dir():
            parser.error(f"--wheels: {folder} is no folder; give what --pack filled")
    if arguments.page and not arguments.show:
        parser.error("--page goes with --show")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
