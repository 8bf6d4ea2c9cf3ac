"""Time and memory of every step of the group level as the cohort grows, beside another version's, in the same run.

    git archive 3ffbeb6 --prefix=old/ | tar -x -C /tmp
    python benchmarks/scale.py --baseline /tmp/old --maps 36 300 1000 --json scale.json

Maps are simulated once for each size and analysed by both versions in turns, as many times as asked; the least of the
times stands for a step, since what else the machine does only adds. Seconds are those of the processor, which depend
less on what else runs than those of the clock. One process at a time, so that the memory of all processes of a run,
looked at ten times a second, is that of the step that runs (and of what the other processes hold). Steps that the other
version does not have are listed apart. ``--json`` keeps the numbers; ``--show`` prints the table of
such a file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from session_memory import Watch

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(r"\S+ (?:\S+\.)?([\w-]+): (started|done)$")
LEAST = 0.5  # seconds: a smaller difference says nothing
ASKED = ("--group-column", "diagnosis", "--covariates", "age", "sex", "tiv")


def analyse(code: Path, maps: Path, more: list[str]) -> dict[str, list[float]]:
    """One run of one version: processor seconds and peak GB by step, and of the whole under "all"."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        command = [sys.executable, "-m", "bids_app", str(maps), f"{folder}/out", "group", "-v", "--nprocs", "1", *ASKED]
        process = subprocess.Popen(
            [*command, "-w", f"{folder}/work", *more], stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"},
            cwd=folder,  # a package in the current folder comes before that of PYTHONPATH
        )  # fmt: skip
        watch = Watch(process.pid)
        lines = [(time.perf_counter(), line.rstrip()) for line in process.stderr]
        code_of_exit = process.wait()
        most = watch.stop()
    if code_of_exit:
        raise SystemExit("\n".join(line for _, line in lines))
    whens, sizes, used = zip(*watch.seen, strict=True)
    began, parts = {}, {"all": [max(used), most / 1e9]}
    for at, line in lines:
        if found := STEP.match(line):
            step, what = found.groups()
            if what == "started":
                began[step] = at
            elif step in began:
                start, stop = np.interp([began[step], at], whens, np.maximum.accumulate(used))
                peak = max(
                    (size for when, size in zip(whens, sizes, strict=True) if began[step] <= when <= at), default=0
                )
                parts[step] = [stop - start, peak / 1e9]
    return parts


def best(runs: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Least seconds and least peak of every step over the runs that have it."""
    steps = dict.fromkeys(step for run in runs for step in run)
    return {step: [min(run[step][i] for run in runs if step in run) for i in (0, 1)] for step in steps}


def join_folds(steps: dict[str, list[float]]) -> dict[str, list[float]]:
    """The training of all folds as one step."""
    joined: dict[str, list[float]] = {}
    for step, (seconds, peak) in steps.items():
        name = re.sub(r"-fold\d+$", "-folds", step)
        before, most = joined.get(name, (0.0, 0.0))
        joined[name] = [before + seconds, max(most, peak)]
    return joined


def table(found: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Markdown: seconds and GB of each step by number of maps, the other version's in brackets, new steps below.

    Bold is what is worse by more than a fifth and by more than `LEAST` seconds, or a tenth of a GB.
    """
    sizes = {n: [join_folds(versions.get(name, {})) for name in ("this", "baseline")] for n, versions in found.items()}
    steps = [step for step in dict.fromkeys(step for this, _ in sizes.values() for step in this) if step != "all"]
    shared = [step for step in steps if any(step in old for _, old in sizes.values())]
    for this, old in sizes.values():
        for version in filter(None, (this, old)):
            mine = [version[step] for step in shared if step in version]
            if mine:
                version["together"] = [sum(seconds for seconds, _ in mine), max(peak for _, peak in mine)]
    heads = [f"{int(n):,} maps, {unit}" for n in sizes for unit in ("s", "GB")]
    lines = [f"| step | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    new = [step for step in steps if step not in shared]
    for step in [*shared, *(["together"] if shared else []), *new, "all"]:
        cells = []
        for this, old in sizes.values():
            for i, (digits, least) in enumerate(((1, LEAST), (2, 0.1))):
                cells.append(_cell(this, old, step, i, digits, least))
        lines.append(f"| {step}{' (new)' if shared and step in new else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(this: dict, old: dict, step: str, i: int, digits: int, least: float) -> str:
    if step not in this:
        return ""
    now, before = this[step][i], old[step][i] if step in old else None
    if before is None:
        return f"{now:.{digits}f}"
    worse = now > 1.2 * before and now - before > least
    return f"{f'**{now:.{digits}f}**' if worse else f'{now:.{digits}f}'} ({before:.{digits}f})"


def main() -> None:
    """Simulate, run, print a table for each size and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, nargs="+", default=[36, 300, 1000])
    parser.add_argument("--baseline", type=Path, help="checkout of the version to compare with")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--resolution", default="4", help="voxel size of the simulated maps, mm")
    parser.add_argument("--more", nargs="*", default=[], help="further options of the group level, without dashes: a=b")
    parser.add_argument("--json", type=Path, default=Path("scale.json"))
    parser.add_argument("--show", action="store_true", help="measure nothing, print the tables of --json")
    given = parser.parse_args()
    if given.show:
        print(table(json.loads(given.json.read_text())))
        return
    versions = {"this": ROOT} | ({"baseline": given.baseline.resolve()} if given.baseline else {})
    more = [word for option in given.more for word in (f"--{option.split('=')[0]}", option.split("=")[1])]
    found = {}
    for n in given.maps:
        with tempfile.TemporaryDirectory(prefix="scale-maps-") as folder:
            simulated = ["--maps-only", "--n-participants", str(n), "--resolution", given.resolution, "--quiet"]
            command = [sys.executable, "-m", "bids_app.simulate.cli", f"{folder}/maps", *simulated]
            subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
            runs = {name: [] for name in versions}
            for _ in range(given.runs):
                for name, code in versions.items():
                    runs[name].append(analyse(code, Path(folder) / "maps", more))
        found[str(n)] = {name: best(each) for name, each in runs.items()}
        print("\n" + table({str(n): found[str(n)]}), flush=True)
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
