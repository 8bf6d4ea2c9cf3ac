"""Cohorts drawn from a bank of simulated grey-matter maps, and the study that the program would make of them.

The bank holds 600 simulated maps (4 mm, smoothed by 8 mm, of people of 55 to 90 years without any disease) in an
orthonormal basis that spans them and the patterns of loss: inner products of maps are those of their coordinates, and
regional grey matter is linear in them. Nothing that a linear model learns of these maps is lost.
``tools/planning_bank.py`` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
from scipy import stats

from bids_app.errors import ConfigError
from bids_app.group.study import Design, Study
from bids_app.group.vectors import study_of_vectors
from bids_app.planning import PATTERNS

FOLDS, ASKED = 5, 64
COVARIATES = ("age", "sex", "tiv")
_SEVERITY = 0.25  # standard deviation of the loss between patients, as a share of it


@dataclass(frozen=True, eq=False)
class Bank:
    """N maps in D coordinates, R regions.

    Attributes
    ----------
    maps : ndarray of shape (N, D)
        Deviations from the mean map.
    loadings : ndarray of shape (D, R)
        ``mean + maps @ loadings`` is the regional grey matter, ml.
    mean : ndarray of shape (R,)
    people : DataFrame, N rows
        ``age, sex, tiv``.
    regions : DataFrame, R rows
        ``index, name``.
    patterns : dict
        Name -> (D,) loss that lowers its regions by one standard deviation (covariates removed), on average over them.
    planted : dict
        Name -> (R,) bool.
    spread : ndarray of shape (D,)
        What a scanner adds that is brighter everywhere by a standard deviation of each voxel.
    """

    maps: np.ndarray
    loadings: np.ndarray
    mean: np.ndarray
    people: pd.DataFrame
    regions: pd.DataFrame
    patterns: dict[str, np.ndarray]
    planted: dict[str, np.ndarray]
    spread: np.ndarray

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def expected(self) -> np.ndarray:
        """What age, sex and head size expect of each map (N, D)."""
        design = np.column_stack([np.ones(len(self)), self.people[list(COVARIATES)]])
        return design @ np.linalg.lstsq(design, self.maps, rcond=None)[0]


@dataclass(frozen=True)
class Scenario:
    """A study that is planned.

    Attributes
    ----------
    sizes : tuple of int
        Participants of each group; the first are the patients.
    effect_sd : float
        How much less grey matter patients have in the regions of the pattern, standard deviations of a region.
    pattern : str
        One of `PATTERNS`.
    spread : float
        How many times as far as the others patients lie from what their age, sex and head size expect.
    sites : int
        Scanners; the second is brighter by half a standard deviation, has 1.5 times the spread and most patients.
    covariates : int
        Covariates besides age, sex and head size; they have nothing to do with anything.
    latent_dim : int
        Asked for; the plan takes fewer where there are few maps.
    older : float
        By about how many standard deviations the patients are older. It has no part in the representation, from which
        studies have their random numbers.
    """

    sizes: tuple[int, ...]
    effect_sd: float = 0.0
    pattern: str = PATTERNS[0]
    spread: float = 1.0
    sites: int = 1
    covariates: int = 0
    latent_dim: int = ASKED
    older: float = field(default=0.0, repr=False)


@cache
def load_bank() -> Bank:
    """Read the bank that comes with the program."""
    with (
        files("bids_app.planning").joinpath("bank.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        arrays = {name: stored[name] for name in stored.files}
    real = {name: array.astype(float) if array.dtype.kind == "f" else array for name, array in arrays.items()}
    return Bank(
        maps=real["maps"],
        loadings=real["loadings"],
        mean=real["mean"],
        people=pd.DataFrame({name: real[name] for name in COVARIATES}),
        regions=pd.DataFrame({"index": real["index"], "name": real["names"].astype(str)}),
        patterns=dict(zip(PATTERNS, real["patterns"], strict=True)),
        planted=dict(zip(PATTERNS, real["planted"].astype(bool), strict=True)),
        spread=real["spread"],
    )


def draw_study(bank: Bank, number: int, scenario: Scenario) -> tuple[pd.DataFrame, np.ndarray]:
    """The cohort of a study.

    Parameters
    ----------
    bank : Bank
    number : int
        Of the study; the same number is the same cohort.
    scenario : Scenario

    Returns
    -------
    table : DataFrame, n rows
    maps : ndarray of shape (n, D)
        Coordinates, in which a map is a deviation from the bank's mean map (ml per ml).
    """
    return draw(bank, scenario, np.random.default_rng([number, *map(ord, repr(scenario))]))


def draw(bank: Bank, scenario: Scenario, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """A cohort: one row per participant, and the coordinates of their maps (n, D).

    Raises
    ------
    ConfigError
        More people than the bank has.
    """
    n = sum(scenario.sizes)
    if n > len(bank):
        raise ConfigError(
            f"{n} participants are more than the {len(bank)} that can be drawn", remedy="plan a smaller study"
        )
    rows = rng.choice(len(bank), n, replace=False)
    if scenario.older:
        # The largest of these are a sample without replacement with weights exp(older * age).
        age = stats.zscore(bank.people["age"].to_numpy()[rows])
        rows = rows[np.argsort(-(scenario.older * age + rng.gumbel(size=n)))]
    group = np.repeat(np.arange(len(scenario.sizes)), scenario.sizes)
    patient = group == 0
    expected = bank.expected[rows]
    deviation, wide = bank.maps[rows] - expected, np.where(patient, scenario.spread, 1.0)
    table = pd.DataFrame({"participant_id": [f"sub-{i:04d}" for i in range(n)]})
    table["group"] = [("case", *(f"control{g}" if g > 1 else "control" for g in range(1, 9)))[g] for g in group]
    table = table.join(bank.people.iloc[rows].reset_index(drop=True))
    for number in range(scenario.covariates):
        table[f"covariate{number + 1}"] = rng.normal(size=n)
    shift = np.zeros(n)
    if scenario.sites > 1:
        site = rng.integers(0, scenario.sites, n)
        site = np.where(rng.random(n) < 0.4, np.where(patient, 1, 0), site)
        site[[0, 1, -2, -1]] = 0, 1, 0, 1  # everyone of a group from one scanner would be no confound
        wide, shift = wide * np.where(site == 1, 1.5, 1.0), np.where(site == 1, 0.5, 0.0)
        table["site"] = [f"site{s + 1}" for s in site]
    loss = scenario.effect_sd * patient * np.clip(rng.normal(1, _SEVERITY, n), 0.2, 1.8)
    maps = expected + wide[:, None] * deviation + shift[:, None] * bank.spread
    return table, maps - loss[:, None] * bank.patterns[scenario.pattern]


def build(bank: Bank, scenario: Scenario, table: pd.DataFrame, maps: np.ndarray, seed: int) -> Study:
    """The study that the program makes of these maps: the linear path, learnt for every fold and in full."""
    readout = bank.loadings, bank.mean
    asked = design_of(scenario)
    return study_of_vectors(
        table, bank.regions, maps, readout, asked, latent_dim=scenario.latent_dim, folds=FOLDS, seed=seed
    )


def design_of(scenario: Scenario) -> Design:
    """What is asked about a cohort of `draw`: its groups, with age, sex, head size and further covariates removed."""
    covariates = (*COVARIATES, *(f"covariate{number + 1}" for number in range(scenario.covariates)))
    return Design("group", (), covariates, "site" if scenario.sites > 1 else None)
