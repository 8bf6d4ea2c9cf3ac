"""How often each claim is supported where it is untrue, and where it is true, with latents learnt as in a real run.

    python benchmarks/calibration.py --processes 2 [--minutes 30] [--write docs/verdicts.md]

A bank of simulated grey-matter maps is made once (4 mm, smoothed by 8 mm, 120 regions, no difference between groups),
and cohorts are drawn from it. In each the linear path is learnt for every fold and in full, with the K of the plan;
age, sex and intracranial volume are covariates; the chain is that of the program, from the study to the verdicts, but
for the SHAP regression, which only ``--with-error`` runs. Cells:

- level: nothing differs in location. Patients' maps lie so many times as far from what age, sex and head size expect;
- site: two scanners, dealt out unevenly, one of which shifts every map and spreads it 1.5 times as far;
- three: three groups without any difference, all pairs compared;
- power: patients lose grey matter in planted regions.

Cohorts are taken in turns from all cells and are written to ``--out`` as they are done, one line each: the same command
resumes. ``--write`` puts the tables between their marks in a page of the documentation.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from bank import learn, make_bank, maps_of, pick, read_bank, region_sums, smooth

from bids_app.group.baselines import baselines
from bids_app.group.explain import explain
from bids_app.group.lrcp import lrcp
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Design, build_questions, build_study
from bids_app.group.validate import validate
from bids_app.group.verdicts import verdicts
from bids_app.model.crossfit import split_participants
from bids_app.model.plan import make_plan
from bids_app.schema.claims import SUPPORTED, WORST_CASE
from bids_app.schema.labels import DIFFERING, KEPT, PARTLY

FOLDS, PERMUTATIONS, ASKED = 5, 199, 64


@dataclass(frozen=True)
class Cell:
    """One condition; ``sizes`` are those of the groups, patients first."""

    kind: str
    sizes: tuple[int, ...]
    spread: float = 1.0
    loss: float = 0.0
    pattern: str = ""

    @property
    def name(self) -> str:
        """In words, for files and tables."""
        parts = [self.kind, "+".join(map(str, self.sizes))]
        parts += [f"SD {self.spread:g}"] if self.kind in ("level", "site") else []
        parts += [f"{self.pattern} {100 * self.loss:g} %"] if self.kind == "power" else []
        return ", ".join(parts)


LEVEL = [
    Cell("level", sizes, spread)
    for sizes in ((30, 30), (60, 60), (15, 60), (30, 120), (60, 240), (20, 80))
    for spread in (1.0, 1.5, 2.0)
]
SITE = [Cell("site", sizes, 1.5) for sizes in ((30, 30), (30, 120))]
THREE = [Cell("three", (30, 30, 30)), Cell("three", (60, 60, 60))]
POWER = [
    Cell("power", sizes, 1.0, loss, pattern)
    for sizes in ((15, 15), (30, 30), (60, 60), (30, 120), (150, 150))
    for pattern, loss in (("scattered", 0.1), ("medial temporal", 0.5), ("medial temporal", 1.0))
]


@cache
def bank_of(path: Path) -> dict:
    """The bank, its smoothed maps, and what age, sex and head size expect of them at each voxel."""
    bank = read_bank(path)
    bank["smoothed"] = np.stack([smooth(one, bank["mask"]) for one in bank["maps"]])
    design = np.column_stack([np.ones(len(bank["age"])), bank["age"], bank["sex"], bank["tiv"]])
    coefficients = np.linalg.lstsq(design, bank["smoothed"].astype(float), rcond=None)[0]
    bank["expected"] = (design @ coefficients).astype(np.float32)
    bank["sd"] = (bank["smoothed"] - bank["expected"]).std(axis=0)
    return bank


def draw(bank: dict, cell: Cell, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Table, maps (n, V) and planted regions (R,) of a cohort."""
    n = sum(cell.sizes)
    rows = rng.choice(len(bank["age"]), n, replace=False)
    group = np.repeat(np.arange(len(cell.sizes)), cell.sizes)
    planted = np.zeros(len(bank["index"]))
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:04d}" for i in range(n)],
            "group": [("case", "control", "other")[g] for g in group],
        }
        | {name: bank[name][rows] for name in ("age", "sex", "tiv")}
    )
    if cell.kind == "power":
        planted = pick(rng, bank, cell.pattern, cell.loss)
        return table, maps_of(rng, bank, rows, (group == 0).astype(float), planted), planted
    expected, deviation = bank["expected"][rows], bank["smoothed"][rows] - bank["expected"][rows]
    if cell.kind == "site":
        site = rng.random(n) < np.where(group == 0, 0.7, 0.3)
        site[[0, 1, -2, -1]] = True, False, True, False
        table["site"] = np.where(site, "b", "a")
        wide, shift = np.where(site, cell.spread, 1.0), 0.5 * site[:, None] * bank["sd"]
    else:
        wide, shift = np.where(group == 0, cell.spread, 1.0), 0.0
    return table, (expected + wide[:, None] * deviation + shift).astype(np.float32), planted


def study_of(bank: dict, table: pd.DataFrame, maps: np.ndarray, seed: int):
    """The study that the program would make of these maps: the linear path alone, the K of the plan."""
    ids = table["participant_id"]
    fold = split_participants(ids, FOLDS, seed, table["group"])
    k = make_plan(ids, fold, latent_dim=ASKED).latent_dim
    regions, gram = region_sums(maps, bank), (maps @ maps.T).astype(float)
    reconstructed, explained, by_fold = np.zeros(regions.shape), np.zeros(len(ids)), []
    for f in range(FOLDS):
        held, train = fold == f, np.flatnonzero(fold != f)
        latents, made = learn(gram, regions, train, k)
        centre = np.eye(len(ids))
        centre[:, train] -= 1 / len(train)
        total = np.einsum("ij,jk,ik->i", centre, gram, centre)
        by_fold.append(latents)
        reconstructed[held], explained[held] = made[held], ((latents**2).sum(axis=1) / total)[held]
    products = {"Z": learn(gram, regions, np.arange(len(ids)), k)[0], "Zf": np.stack(by_fold), "fold": fold}
    site = "site" if "site" in table else None
    questions = build_questions(table, Design("group", (), ("age", "sex", "tiv"), site))
    names = pd.DataFrame({"index": bank["index"], "name": bank["names"]})
    return build_study(
        table[["participant_id"]],
        names,
        questions,
        products | {"ev_ae": explained},
        regions,
        (regions, reconstructed),
    )


def analyse(bank: dict, cell: Cell, number: int, with_error: bool) -> dict:
    """Grades of every claim in one cohort, and what became of planted and other regions."""
    rng = np.random.default_rng([number, *map(ord, cell.name)])
    table, maps, planted = draw(bank, cell, rng)
    study = study_of(bank, table, maps, number)
    settings = AnalysisSettings(PERMUTATIONS, seed=number, n_rank_samples=5, n_interval_samples=200)
    tables = {"lrcp_regions": lrcp(study, settings).regions, "sam_regions": sam(study, settings)}
    relation = explain(study, settings).relation if with_error else None
    validation = validate(study, settings, relation=relation, **tables)
    graded = verdicts(
        validation, baselines(study, settings), study.contrasts, covariate_names=study.covariates.names, **tables
    )
    found = {
        "latents": study.latents.full.shape[1],
        "dispersion": bool(validation["note"].str.contains("dispersion").any()),
    }
    for claim_id, mine in graded.groupby("claim_id"):
        found[claim_id] = bool(mine["verdict"].isin((SUPPORTED.name, WORST_CASE.name)).any())
        found[f"{claim_id}, worst case"] = bool((mine["verdict"] == WORST_CASE.name).any())
    label = tables["lrcp_regions"]["label"]
    where = np.tile(planted > 0, len(label) // len(planted))
    found["any region kept"] = bool(label[~where].isin((KEPT, PARTLY)).any())
    found["any region differs"] = bool(label[~where].isin(DIFFERING).any())
    if where.any():
        found["planted kept"] = float(label[where].isin((KEPT, PARTLY)).mean())
        found["planted differ"] = float(label[where].isin(DIFFERING).mean())
    return found


def run_one(job: tuple) -> tuple[Cell, int, dict | None]:
    """One cohort; None where the time is up or something broke (said once, on the standard output)."""
    bank, cell, number, with_error, deadline = job
    if time.time() > deadline:
        return cell, number, None
    logging.getLogger("latentatlas").setLevel(logging.ERROR)
    try:
        return cell, number, analyse(bank_of(bank), cell, number, with_error)
    except Exception:
        print(cell.name, number, traceback.format_exc(limit=4), flush=True)
        return cell, number, None


def read_done(path: Path) -> dict[str, dict[int, dict]]:
    """Cohorts of earlier runs: cell -> number -> what was found."""
    done: dict[str, dict[int, dict]] = defaultdict(dict)
    for line in path.read_text().splitlines() if path.exists() else []:
        record = json.loads(line)
        done[record["cell"]][record["number"]] = record["found"]
    return done


def share(values: list[bool]) -> str:
    """Percent and its binomial standard error."""
    p = float(np.mean(values))
    return f"{100 * p:.1f} ± {100 * np.sqrt(max(p * (1 - p), 0.5 / len(values)) / len(values)):.1f}"


def tables(done: dict[str, dict[int, dict]], cells: list[Cell]) -> str:
    """The tables in Markdown: percent of cohorts in which a claim is supported."""
    titles = {
        "separation": "separation",
        "beats_covariates": "beats covariates",
        "regions_kept": "regions kept (LRCP)",
        "single_regions": "single regions (SAM)",
    }
    out = []
    for kinds, more in (
        (("level", "site"), ["dispersion"]),
        (("three",), []),
        (("power",), ["planted kept", "planted differ"]),
    ):
        mine = [cell for cell in cells if cell.kind in kinds and done.get(cell.name)]
        if not mine:
            continue
        head = ["cell", "K", *titles.values(), *(["any claim"] if kinds == ("three",) else []), *more, "cohorts"]
        out += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for cell in mine:
            found = list(done[cell.name].values())
            row = [cell.name, f"{np.mean([one['latents'] for one in found]):.0f}"]
            row += [share([one.get(claim, False) for one in found]) for claim in titles]
            if kinds == ("three",):
                row.append(share([any(one.get(claim, False) for claim in titles) for one in found]))
            row += [f"{100 * np.mean([one[name] for one in found]):.0f}" for name in more]
            out.append("| " + " | ".join([*row, str(len(found))]) + " |")
        out.append("")
    return "\n".join(out)


def main() -> None:
    """Run what is missing of the cells, print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, default=Path("work/bank.npz"))
    parser.add_argument("--bank-size", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("work/calibration.jsonl"))
    parser.add_argument("--cohorts", type=int, nargs=2, default=[400, 200], help="of a cell of level, of power")
    parser.add_argument("--kinds", nargs="+", default=["level", "site", "three", "power"])
    parser.add_argument("--with-error", action="store_true", help="the SHAP regression, too (ten times as slow)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no cohort after so long")
    parser.add_argument("--write", type=Path, help="page with the marks <!-- calibration --> and <!-- end -->")
    args = parser.parse_args()
    args.bank.parent.mkdir(parents=True, exist_ok=True)
    if not args.bank.exists():
        make_bank(args.bank, args.bank_size, 1)
    cells = [cell for cell in (*LEVEL, *SITE, *THREE, *POWER) if cell.kind in args.kinds]
    done, deadline = read_done(args.out), time.time() + 60 * args.minutes
    turns = []
    for cell in cells:
        total = args.cohorts[cell.kind == "power"]
        turns += [((i + 1) / total, i, cell) for i in range(total) if i not in done[cell.name]]
    turns.sort(key=lambda turn: turn[:2])
    jobs = [(args.bank.absolute(), cell, i, args.with_error, deadline) for _, i, cell in turns]
    # Read by the workers, which start afresh: one thread each.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with get_context("spawn").Pool(args.processes) as pool, args.out.open("a") as file:
        for cell, number, found in pool.imap_unordered(run_one, jobs):
            if found is not None:
                file.write(json.dumps({"cell": cell.name, "number": number, "found": found}) + "\n")
                file.flush()
                done[cell.name][number] = found
    text = tables(done, cells)
    print(text)
    if args.write:
        page = args.write.read_text()
        new = re.sub(r"(<!-- calibration -->\n).*?(<!-- end -->)", rf"\1\n{text}\n\2", page, flags=re.DOTALL)
        args.write.write_text(new)


if __name__ == "__main__":
    main()
