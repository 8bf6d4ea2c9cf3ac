"""Time and memory of every step of the group level as the cohort grows, beside another version's, in the same run.

    git archive 3ffbeb6 --prefix=old/ | tar -x -C /tmp
    python benchmarks/scale.py --baseline /tmp/old --maps 36 300 1000 --json scale.json

Maps are simulated once for each size and analysed by both versions in turns, as many times as asked; the least of the
times stands for a step, since what else the machine does only adds. Seconds are those of the processor, which depend
less on what else runs than those of the clock. One process at a time, so that the memory of all processes of a run,
looked at ten times a second, is that of the step that runs (and of what the other processes hold). Steps that the other
version does not have are listed apart. ``--json`` keeps the numbers; ``--show`` prints the table of such a file.
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
LEAST = 0.5  # seconds below which a ratio says nothing
ASKED = ("--group-column", "diagnosis", "--covariates", "age", "sex", "tiv")


def analyse(code: Path, maps: Path, more: list[str]) -> dict[str, list[float]]:
    """One run of one version: processor seconds and peak GB by step, and of the whole under "all"."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        command = [sys.executable, "-m", "bids_app", str(maps), f"{folder}/out", "group", "-v", "--nprocs", "1", *ASKED]
        process = subprocess.Popen(
            [*command, "-w", f"{folder}/work", *more], stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"},
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


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """Lines in Markdown: the steps of both versions, both together, and what this version alone does."""
    this, old = (join_folds(found.get(version, {})) for version in ("this", "baseline"))
    shared = [step for step in this if step in old and step != "all"]
    rows = [(step, this[step], old[step]) for step in shared]
    if shared:
        seconds = [sum(version[step][0] for step in shared) for version in (this, old)]
        peaks = [max(version[step][1] for step in shared) for version in (this, old)]
        rows.append(("these steps", *zip(seconds, peaks, strict=True)))
    rows += [(f"{step} (new)" if old else step, this[step], None) for step in this if step not in old and step != "all"]
    rows.append(("whole run", this["all"], old.get("all")))
    lines = ["| step | s | before | ratio | GB | before | ratio |", "|---|" + "---:|" * 6]
    for step, now, before in rows:
        cells = [f"{now[0]:.1f}", "", "", f"{now[1]:.2f}", "", ""]
        if before:
            cells[1:3] = f"{before[0]:.1f}", f"{now[0] / before[0]:.2f}" if before[0] > LEAST else "–"
            cells[4:] = f"{before[1]:.2f}", f"{now[1] / before[1]:.2f}"
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return lines


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
        for n, versions in json.loads(given.json.read_text()).items():
            print(f"\n{n} maps\n\n" + "\n".join(table(versions)))
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
        print(f"\n{n} maps\n\n" + "\n".join(table(found[str(n)])), flush=True)
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
