"""A simulated cohort with known truth."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_app.group.design import build_contrasts, build_covariates


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
    return SimpleNamespace(
        table=table,
        Z=Z,
        Zf=Zf,
        G=G,
        err=err,
        fold=np.arange(n) % folds,
        regions=pd.DataFrame({"index": np.arange(1, r + 1), "name": [f"R{i}" for i in range(1, r + 1)]}),
        contrasts=build_contrasts(table, "dx", contrasts),
        covariates=build_covariates(table, ["age", "sex"]),
        participants=table["participant_id"].to_numpy(),
        group=group,
    )


@pytest.fixture
def cohort():
    return make_cohort()


@pytest.fixture(scope="session")
def cohort_maker():
    return make_cohort
