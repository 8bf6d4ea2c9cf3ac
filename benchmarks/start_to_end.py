"""Where every second of a run of the participant level goes, for one scan and for two at once.

    python benchmarks/start_to_end.py BIDS_DIR LABEL LABEL [--nprocs 2] [--json start_to_end.json]

The command is run as a user runs it, with a fresh output and work folder, and every line of its log (-v) is given the
time at which it comes. Parts are seconds by the clock; those of two scans at once overlap, so they add up to more than
the whole. Memory is that of all processes of a run together, looked at ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from session_memory import Watch

STEP = re.compile(r"\S+ (\S+)\.(\S+): (started|done)$")
STEPS = (
    "conform", "brain-mask", "bias-field", "normalise", "tissues", "modulate", "quality", "write", "figures",
)  # fmt: skip


def run(bids: Path, labels: list[str], nprocs: int) -> dict:
    """One run: seconds by part, the whole, processor seconds, peak memory."""
    with tempfile.TemporaryDirectory(prefix="start-to-end-") as folder:
        command = [
            *(sys.executable, "-m", "bids_app", str(bids), f"{folder}/out", "participant", "-v"),
            *("--participant-label", *labels, "-w", f"{folder}/work", "--nprocs", str(nprocs)),
        ]
        before = os.times()
        start = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        memory = Watch(process.pid)
        lines = [(time.perf_counter() - start, line.rstrip()) for line in process.stderr]
        code = process.wait()
        whole = time.perf_counter() - start
        after = os.times()
        peak = memory.stop()
    if code:
        raise SystemExit("\n".join(line for _, line in lines))
    parts = split(lines, whole)
    return {
        "scans": len(labels),
        "seconds": round(whole, 2),
        "steps": round(sum(parts[step] for step in STEPS) / len(labels), 2),
        "main_process_cpu": round(
            after.children_user + after.children_system - before.children_user - before.children_system, 2
        ),
        "peak_gb": round(peak / 1e9, 2),
        "parts": {name: round(value, 2) for name, value in parts.items()},
    }


def split(lines: list[tuple[float, str]], whole: float) -> dict[str, float]:
    """Seconds of every part from the times of a log's lines; steps are summed over scans.

    ``waiting`` is the time between a scan's steps, ``between`` that in which no step of any scan ran.
    """
    greeting, indexed = (next(t for t, line in lines if words in line) for words in ("LatentAtlas", " scan"))
    parts = {"interpreter, imports": greeting, "index": indexed - greeting}
    started, ended, running = {}, {}, []
    seconds = dict.fromkeys(STEPS, 0.0)
    waiting = 0.0
    for at, line in lines:
        found = STEP.match(line)
        if not found or found[2] not in STEPS:
            continue
        scan, step, what = found.groups()
        if what == "started":
            started[scan, step] = at
            waiting += at - ended.get(scan, at)
        else:
            seconds[step] += at - started[scan, step]
            running.append((started[scan, step], at))
            ended[scan] = at
    first, last = min(a for a, _ in running), max(b for _, b in running)
    told = next(t for t, line in lines if " done in " in line)
    parts |= {"graph, first worker": first - indexed, **seconds, "waiting between a scan's steps": waiting}
    return {**parts, "page, methods text": told - last, "exit": whole - told}


def table(one: dict, two: dict) -> str:
    """Both runs side by side, with every part's share of one scan's time."""
    rows = [("part", "one scan", "share", "two at once", "ratio")]
    for name, value in one["parts"].items():
        other = two["parts"][name]
        ratio = f"{other / value:.2f}" if value > 0.05 else ""
        rows.append((name, f"{value:.1f} s", f"{value / one['seconds']:.0%}", f"{other:.1f} s", ratio))
    ratio = f"{two['seconds'] / one['seconds']:.2f}"
    rows.append(("all", f"{one['seconds']:.1f} s", "100%", f"{two['seconds']:.1f} s", ratio))
    rows.append(("steps of a scan", f"{one['steps']:.1f} s", f"{one['steps'] / one['seconds']:.0%}",
                 f"{two['steps']:.1f} s", f"{two['steps'] / one['steps']:.2f}"))  # fmt: skip
    rows.append(("peak memory", f"{one['peak_gb']:.2f} GB", "", f"{two['peak_gb']:.2f} GB", ""))
    return "\n".join(f"{a:<32}{b:>10}{c:>8}{d:>14}{e:>8}" for a, b, c, d, e in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("labels", nargs=2, help="two participants with one scan each")
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("start_to_end.json"))
    given = parser.parse_args()
    one = run(given.bids_dir, given.labels[:1], given.nprocs)
    two = run(given.bids_dir, given.labels, given.nprocs)
    facts = {"processors": os.cpu_count(), "load": os.getloadavg()[2], "machine": platform.machine()}
    given.json.write_text(json.dumps({**facts, "nprocs": given.nprocs, "one": one, "two": two}, indent=2) + "\n")
    print(table(one, two))


if __name__ == "__main__":
    main()
