"""Seconds and memory of every step of the group level as the cohort grows, beside another version's, in the same run.

    git archive 3ffbeb6 --prefix=old/ | tar -x -C /tmp
    python benchmarks/scale.py --baseline /tmp/old --maps 36 300 1000 --json scale.json

Maps are simulated once for each size and analysed by both versions in turns, as many times as asked; the least of the
times stands for a step, since what else the machine does only adds. One process at a time, so that the memory of all
processes of a run, looked at ten times a second, is that of the step that runs (and of what the main process holds).
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

from session_memory import Watch

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(r"\S+ (?:\S+\.)?([\w-]+): (started|done)$")
ASKED = ("--group-column", "diagnosis", "--covariates", "age", "sex", "tiv")


def analyse(code: Path, maps: Path, more: list[str]) -> dict[str, tuple[float, float]]:
    """One run of one version: (seconds, peak GB) by step, and of the whole under "all"."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        command = [sys.executable, "-m", "bids_app", str(maps), f"{folder}/out", "group", "-v", "--nprocs", "1", *ASKED]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "-w", f"{folder}/work", *more], stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        watch = Watch(process.pid)
        lines = [(time.perf_counter(), line.rstrip()) for line in process.stderr]
        code_of_exit = process.wait()
        whole = time.perf_counter() - start
        most = watch.stop()
    if code_of_exit:
        raise SystemExit("\n".join(line for _, line in lines))
    began, parts = {}, {"all": (whole, most / 1e9)}
    for at, line in lines:
        if found := STEP.match(line):
            step, what = found.groups()
            if what == "started":
                began[step] = at
            elif step in began:
                peak = max((size for when, size in watch.seen if began[step] <= when <= at), default=0)
                parts[step] = (at - began[step], peak / 1e9)
    return parts


def best(runs: list[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """Least seconds and least peak of every step over the runs that have it."""
    steps = dict.fromkeys(step for run in runs for step in run)
    return {step: tuple(min(run[step][i] for run in runs if step in run) for i in (0, 1)) for step in steps}


def main() -> None:
    """Simulate, run, print a table for each size and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, nargs="+", default=[36, 300, 1000])
    parser.add_argument("--baseline", type=Path, help="checkout of the version to compare with")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--resolution", default="4", help="voxel size of the simulated maps, mm")
    parser.add_argument("--more", nargs="*", default=[], help="further options of the group level, without dashes: a=b")
    parser.add_argument("--json", type=Path, default=Path("scale.json"))
    given = parser.parse_args()
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
        found[n] = {name: best(each) for name, each in runs.items()}
        print(f"\n{n} maps{'seconds':>27}{'ratio':>8}{'GB':>10}{'ratio':>8}")
        for step, (seconds, peak) in found[n]["this"].items():
            old = found[n].get("baseline", {}).get(step)
            pairs = zip((seconds, peak), old or (0, 0), strict=True)
            ratios = [f"{now / before:.2f}" if before else "" for now, before in pairs]
            print(f"{step:<25}{seconds:>9.1f}{ratios[0]:>8}{peak:>10.2f}{ratios[1]:>8}", flush=True)
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
