"""How often each claim is supported where it is untrue, and where it is true, with latents learnt as in a real run.

    python benchmarks/calibration.py --processes 2 [--minutes 30] [--write docs/verdicts.md]

Studies are those of ``latentatlas-plan``: cohorts drawn from simulated maps, the linear path learnt for every fold and
in full with the K of the plan, 120 regions, everything from the study to the verdicts. Cells:

- level: nothing differs in location; patients' maps lie so many times as far from what age, sex and head size expect;
- site: two scanners, dealt out unevenly, one of which shifts every map and spreads it 1.5 times as far;
- older: the patients are older by a standard deviation, and age explains all that differs;
- three: three groups without any difference, all pairs compared;
- power: patients have less grey matter in affected regions.

Studies are taken in turns from all cells and written to ``--out`` as they are done, one line each: the same command
resumes, and with ``--minutes 0`` runs nothing. ``--write`` puts the tables between their marks in a page of the
documentation, drops what stands there about older ones (between ``<!-- older -->`` and ``<!-- newer -->``), and writes
`OVERALL` of ``--claims``: the share of studies of three groups that do not differ in which any claim is supported.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bids_app.planning.bank import Scenario
from bids_app.planning.power import TITLES, share_error, simulate

CLAIMS = Path(__file__).resolve().parents[1] / "bids_app/schema/claims.py"
SIZES = ((30, 30), (60, 60), (15, 60), (20, 80), (30, 120), (60, 240))
CELLS = {
    "level": [Scenario(sizes, spread=spread) for sizes in SIZES for spread in (1.0, 1.5, 2.0)],
    "site": [Scenario(sizes, sites=2) for sizes in ((30, 30), (30, 120))],
    "older": [Scenario(sizes, older=1.0) for sizes in ((60, 60), (20, 80))],
    "three": [Scenario((30, 30, 30)), Scenario((60, 60, 60))],
    "power": [
        Scenario(sizes, effect, pattern)
        for sizes in ((15, 15), (30, 30), (60, 60), (30, 120), (150, 150))
        for pattern in ("scattered", "medial-temporal")
        for effect in (0.5, 0.8, 1.2)
    ],
}


def name_of(kind: str, cell: Scenario) -> str:
    """A cell in words, for files and tables."""
    more = {
        "level": f", SD {cell.spread:g}",
        "site": ", two scanners",
        "older": f", {cell.older:g} SD older",
        "power": f", {cell.effect_sd:g} SD {cell.pattern}",
    }
    return f"{' + '.join(map(str, cell.sizes))}{more.get(kind, '')}"


def run_one(job: tuple) -> tuple[str, str, int, dict | None]:
    """One study; None where the time is up or something broke (said once, on the standard output)."""
    kind, cell, number, deadline = job
    name = name_of(kind, cell)
    if time.time() > deadline:
        return kind, name, number, None
    try:
        return kind, name, number, simulate(number, cell)
    except Exception:
        print(name, number, traceback.format_exc(limit=4), flush=True)
        return kind, name, number, None


def read_done(path: Path) -> dict[tuple[str, str], dict[int, dict]]:
    """Studies of earlier runs: (kind, cell) -> number -> what was found."""
    done: dict[tuple[str, str], dict[int, dict]] = defaultdict(dict)
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(json.JSONDecodeError):  # cut off with its run
            record = json.loads(line)
            done[record["kind"], record["cell"]][record["number"]] = record["found"]
    return done


def percent(values: list[float]) -> str:
    """Percent and its binomial standard error."""
    p = float(np.mean(values))
    return f"{100 * p:.1f} ± {100 * share_error(p, len(values)):.1f}"


def any_claim(studies: Iterable[dict]) -> list[float]:
    """Whether any claim about the groups is supported, of every study."""
    return [max(one[claim] for claim in TITLES) for one in studies]


def tables(done: dict[tuple[str, str], dict[int, dict]]) -> str:
    """The tables in Markdown: percent of studies in which a claim is supported."""
    heads = dict(zip(TITLES, ("separation", "beats covariates", "regions kept", "single regions"), strict=True))
    out: list[str] = []
    for kind, cells in CELLS.items():
        mine = [(name_of(kind, cell), done.get((kind, name_of(kind, cell)))) for cell in cells]
        mine = [(name, list(found.values())) for name, found in mine if found]
        if not mine:
            continue
        more = {"level": ["dispersion differs"], "three": ["any claim"], "power": ["regions found", "kept"]}.get(
            kind, []
        )
        out += ["| patients + others | K | " + " | ".join([*heads.values(), *more, "studies"]) + " |"]
        out += ["|" + "---|" * (len(heads) + len(more) + 3)]
        for name, found in mine:
            row = [name, f"{np.mean([one['latents'] for one in found]):.0f}"]
            row += [percent([one[claim] for one in found]) for claim in heads]
            if kind == "level":
                row.append(f"{100 * np.mean([one['dispersion'] for one in found]):.0f}")
            if kind == "three":
                row.append(percent(any_claim(found)))
            if kind == "power":
                row += [
                    f"{100 * np.mean([one[key] for one in found]):.0f}" for key in ("planted differ", "planted kept")
                ]
            out.append("| " + " | ".join([*row, str(len(found))]) + " |")
        out.append("")
    return "\n".join(out)


def write_page(page: Path, text: str, mark: str = "calibration") -> None:
    """Put the tables between their marks, and drop what is said of older ones."""
    old = page.read_text()
    new, found = re.subn(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", rf"\1\n{text}\n\2", old, flags=re.DOTALL)
    if not found:
        raise SystemExit(f"{page} has no marks <!-- {mark} --> and <!-- end -->")
    page.write_text(re.sub(r"<!-- older -->\n.*?<!-- newer -->\n\n?", "", new, flags=re.DOTALL))


def write_overall(claims: Path, done: dict[tuple[str, str], dict[int, dict]]) -> None:
    """Put the larger share of the cells of three groups into the schema, as precisely as the tables give it."""
    cells = [done.get(("three", name_of("three", cell)), {}).values() for cell in CELLS["three"]]
    share = max(round(float(np.mean(any_claim(cell))), 3) for cell in cells if cell)
    new, found = re.subn(r"^OVERALL = .*$", f"OVERALL = {share}", claims.read_text(), flags=re.MULTILINE)
    if not found:
        raise SystemExit(f"{claims} has no line OVERALL = ...")
    claims.write_text(new)


def main() -> None:
    """Run what is missing of the cells, print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("work/calibration.jsonl"))
    parser.add_argument("--studies", type=int, nargs=2, default=[400, 200], help="of a cell of level, of power")
    parser.add_argument("--kinds", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no study after so long")
    parser.add_argument("--write", type=Path, help="page with the marks <!-- calibration --> and <!-- end -->")
    parser.add_argument("--claims", type=Path, default=CLAIMS, help="module that --write writes OVERALL to")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done, deadline, turns = read_done(args.out), time.time() + 60 * args.minutes, []
    for kind in args.kinds:
        total = args.studies[kind == "power"]
        for place, cell in enumerate(CELLS[kind]):
            known = done[kind, name_of(kind, cell)]
            turns += [((i + 1) / total, kind, place, i) for i in range(total) if i not in known]
    jobs = [(kind, CELLS[kind][place], i, deadline) for _, kind, place, i in sorted(turns)]
    # Read by the workers, which start afresh: one thread each.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if args.out.exists() and not args.out.read_text().endswith("\n"):
        with args.out.open("a") as file:
            file.write("\n")
    with get_context("spawn").Pool(args.processes) as pool, args.out.open("a") as file:
        for kind, name, number, found in pool.imap_unordered(run_one, jobs):
            if found is not None:
                file.write(json.dumps({"kind": kind, "cell": name, "number": number, "found": found}) + "\n")
                file.flush()
                done[kind, name][number] = found
    text = tables(done)
    print(text)
    if args.write:
        write_page(args.write, text)
        write_overall(args.claims, done)


if __name__ == "__main__":
    main()
