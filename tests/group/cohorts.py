"""A simulated cohort with known truth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bids_app.group.design import Contrast, Covariates, build_contrasts, build_covariates
from bids_app.group.kept import decode_regions
from bids_app.group.study import Features, Study


@dataclass
class Cohort:
    """Arrays that a test may change before it makes a study of them."""

    table: pd.DataFrame
    Z: np.ndarray
    Zf: np.ndarray | None
    G: np.ndarray
    err: np.ndarray
    fold: np.ndarray
    regions: pd.DataFrame
    contrasts: list[Contrast]
    covariates: Covariates
    group: np.ndarray | None = None

    def study(self, **changed) -> Study:
        """The study of these arrays.

        Its components are the latents, in reverse order; its reconstructions are what the latents say of the regions.
        """
        latents = self.Z if self.Zf is None else self.Zf
        known = np.isfinite(self.G).all(axis=1)
        reconstructed = np.full(self.G.shape, np.nan)
        part = latents[:, known] if latents.ndim == 3 else latents[known]
        if known.sum() > 6:
            reconstructed[known] = decode_regions(part, self.G[known], self.fold[known])
        given = {
            "scans": self.table[["participant_id"]],
            "regions": self.regions,
            "fold": self.fold,
            "error": self.err,
            "latents": Features(self.Z, self.Zf),
            "raw_latents": Features(self.Z, self.Zf),
            "pca": Features(self.Z[:, ::-1]),
            "regional": Features(self.G),
            "observed": self.G,
            "reconstructed": reconstructed,
            "contrasts": tuple(self.contrasts),
            "covariates": self.covariates,
            "groups": None if self.group is None else tuple(self.group),
        }
        return Study(**(given | changed))


def make_cohort(n=90, effect=1.8, seed=0, k=8, r=30, folds=5, confound=0.0, sizes=None, contrasts=None):
    """Regions 1-5 follow the source in which the groups differ, regions 6-15 another, the rest none."""
    rng = np.random.default_rng(seed)
    group = np.repeat(["CN", "AD"], [n // 2, n - n // 2] if sizes is None else sizes)
    rng.shuffle(group)
    sick = group == "AD"
    age = rng.normal(70, 6, n) + confound * 6 * sick
    source = rng.normal(size=(n, 4)) + 0.08 * (age - 70)[:, None]
    source[:, 0] -= effect * sick
    Z = source @ rng.normal(size=(4, k)) + 0.4 * rng.normal(size=(n, k))
    Zf = np.stack([Z @ stats.ortho_group.rvs(k, random_state=rng) for _ in range(folds)])
    G = 5 + 0.7 * rng.normal(size=(n, r))
    G[:, :5] += source[:, [0]]
    G[:, 5:15] += source[:, [1]]
    err = 1 + 0.1 * rng.normal(size=n) - 0.1 * G[:, 0]
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "dx": group,
            "age": age,
            "sex": rng.choice(["F", "M"], n),
        }
    )
    return Cohort(
        table=table,
        Z=Z,
        Zf=Zf,
        G=G,
        err=err,
        fold=np.arange(n) % folds,
        regions=pd.DataFrame({"index": np.arange(1, r + 1), "name": [f"R{i}" for i in range(1, r + 1)]}),
        contrasts=build_contrasts(table, "dx", contrasts),
        covariates=build_covariates(table, ["age", "sex"]),
        group=group,
    )
