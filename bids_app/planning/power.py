"""Share of simulated studies in which each claim is supported."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from bids_app.group.baselines import baselines
from bids_app.group.lrcp import lrcp
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.validate import validate
from bids_app.group.verdicts import verdicts
from bids_app.planning.bank import Scenario, build, draw_study, load_bank
from bids_app.schema.claims import (
    BEATS_COVARIATES,
    DISPERSION,
    REGIONS_KEPT,
    SEPARATION,
    SINGLE_REGIONS,
    SUPPORTED,
    WORST_CASE,
)
from bids_app.schema.labels import DIFFERING, KEPT, PARTLY

COUNTED = (SEPARATION, BEATS_COVARIATES, REGIONS_KEPT, SINGLE_REGIONS)
TITLES = {
    SEPARATION.id: "the latent space separates the groups",
    BEATS_COVARIATES.id: "the latents beat the covariates",
    REGIONS_KEPT.id: "the latent space keeps regional differences (LRCP)",
    SINGLE_REGIONS.id: "single regions separate the groups (SAM)",
}
PERMUTATIONS = 199


def simulate(number: int, scenario: Scenario) -> dict[str, float]:
    """One study: what is supported (1) and what not (0), from drawing the cohort to the verdicts.

    Parameters
    ----------
    number : int
        Of the study; the same number is the same study.
    scenario : Scenario

    Returns
    -------
    dict
        ``<claim_id>`` and ``<claim_id>, worst case``, true of any contrast; ``dispersion``; the share of planted
        regions that differ and that are kept, where there are any, and whether any other region is kept; the latents.
    """
    bank = load_bank()
    table, maps = draw_study(bank, number, scenario)
    return judge_study(build(bank, scenario, table, maps, number), number, scenario)


def judge_study(study: Study, number: int, scenario: Scenario) -> dict[str, float]:
    """What is supported of a study, from its latents to the verdicts.

    Parameters
    ----------
    study : Study
        Of a cohort that was drawn for the scenario.
    number : int
        Seed of permutations and bootstraps.
    scenario : Scenario

    Returns
    -------
    dict
        As of `simulate`.
    """
    logging.getLogger("latentatlas").setLevel(logging.ERROR)
    bank = load_bank()
    settings = AnalysisSettings(PERMUTATIONS, seed=number, n_rank_samples=5, n_interval_samples=200)
    tables: dict[str, Any] = {"lrcp_regions": lrcp(study, settings).regions, "sam_regions": sam(study, settings)}
    validation, names = validate(study, settings, **tables), study.covariates.names
    graded = verdicts(validation, baselines(study, settings), study.contrasts, covariate_names=names, **tables)
    found: dict[str, float] = {"latents": study.latents.full.shape[1]}
    found["dispersion"] = float(validation["note"].str.contains(DISPERSION).any())
    for claim in COUNTED:
        mine = graded.loc[graded["claim_id"] == claim.id, "verdict"]
        found[claim.id] = float(mine.isin((SUPPORTED.name, WORST_CASE.name)).any())
        found[f"{claim.id}, worst case"] = float((mine == WORST_CASE.name).any())
    label = tables["lrcp_regions"]["label"]
    planted = np.tile(bank.planted[scenario.pattern] & (scenario.effect_sd != 0), len(label) // len(bank.regions))
    found["other regions kept"] = float(label[~planted].isin((KEPT, PARTLY)).any())
    if planted.any():
        found["planted differ"] = float(label[planted].isin(DIFFERING).mean())
        found["planted kept"] = float(label[planted].isin((KEPT, PARTLY)).mean())
    return found


def simulate_studies(scenario: Scenario, numbers: Iterable[int], processes: int = 1) -> Iterator[dict[str, float]]:
    """Many studies of one scenario, in so many processes of one thread each."""
    if processes == 1:
        yield from map(partial(simulate, scenario=scenario), numbers)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(simulate, scenario=scenario), numbers, chunksize=2)


def share_error(p: float, n: int) -> float:
    """Standard error of a share of n; with half a study more on either side, as 0 and 1 are not known exactly."""
    return float(np.sqrt((p * n + 0.5) * ((1 - p) * n + 0.5) / (n + 1) ** 2 / n))


def summarise_power(found: list[dict[str, float]]) -> pd.DataFrame:
    """``claim_id, supported, supported_se, worst_case, worst_case_se``: shares and their binomial standard errors."""
    table, n = pd.DataFrame(found), len(found)
    rows = []
    for claim in COUNTED:
        shares = [float(table[name].mean()) for name in (claim.id, f"{claim.id}, worst case")]
        errors = [share_error(p, n) for p in shares]
        rows.append((claim.id, shares[0], errors[0], shares[1], errors[1]))
    return pd.DataFrame(rows, columns=["claim_id", "supported", "supported_se", "worst_case", "worst_case_se"])
