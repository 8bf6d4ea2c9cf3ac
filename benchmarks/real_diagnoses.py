"""Hippocampal volumes and clinical dementia ratings of OASIS-1 through the group level's tests.

    python benchmarks/real_diagnoses.py oasis_cross-sectional.csv oasis_hippocampus.csv [--components 1 2]

The tables are those of https://github.com/stnava/RMI (folder ``tomfletcher``). People of 60 or more with a rating of 0,
0.5 or 1; age, sex and head size removed. The known answer: the hippocampus first, and more than the rest of the brain.
Values of g stand beside those of a linear model in statsmodels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm

from bids_app.group.baselines import baselines
from bids_app.group.lrcp import lrcp
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Design
from bids_app.group.validate import validate
from bids_app.group.vectors import study_of_volumes
from bids_app.group.verdicts import verdicts

RATINGS = {0.0: "CDR0", 0.5: "CDR05", 1.0: "CDR1"}
CONTRASTS = ("CDR05-CDR0", "CDR1-CDR0", "CDR0<CDR05<CDR1")


def read(people: Path, hippocampus: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People with a rating, and their volumes in ml."""
    table = pd.read_csv(people).merge(pd.read_csv(hippocampus), on="ID")
    table = table[(table["Age"] >= 60) & table["CDR"].isin(RATINGS)].reset_index(drop=True)
    volumes = pd.DataFrame(
        {f"hippocampus, {side}": table[f"{side.title()}HippoVol"] / 1000 for side in ("right", "left")}
    )
    volumes["rest of the brain"] = table["nWBV"] * table["eTIV"] - volumes.sum(axis=1)
    labels = "sub-" + table["ID"].str.split("_").str[1]
    columns = {"cdr": table["CDR"].map(RATINGS), "age": table["Age"], "sex": table["M/F"], "tiv": table["eTIV"]}
    return pd.DataFrame({"participant_id": labels, **columns}), volumes


def linear_g(people: pd.DataFrame, volume: pd.Series, contrast: str) -> float:
    """Hedges g of a linear model with the covariates; NaN for the order."""
    if "<" in contrast:
        return float("nan")
    mine = people[people["cdr"].isin(contrast.split("-"))]
    y = (mine["cdr"] == contrast.split("-")[0]).astype(float)
    design = np.column_stack([np.ones(len(mine)), y, mine["age"], mine["sex"] == "M", mine["tiv"]])
    fit = sm.OLS(volume[mine.index], design).fit()
    return float(fit.params.iloc[1] / np.sqrt(fit.scale) * (1 - 3 / (4 * fit.df_resid - 1)))


def main() -> None:
    """Print the table of regions and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("hippocampus", type=Path)
    parser.add_argument("--components", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    people, volumes = read(args.people, args.hippocampus)
    print(len(people), people["cdr"].value_counts().to_dict())
    design = Design("cdr", CONTRASTS, ("age", "sex", "tiv"))
    settings = AnalysisSettings(n_permutations=2000)
    for k in args.components:
        study = study_of_volumes(people, volumes, design, latent_dim=k, seed=1)
        tables = {"lrcp_regions": lrcp(study, settings).regions, "sam_regions": sam(study, settings)}
        regions = tables["lrcp_regions"]
        regions["g in statsmodels"] = [
            linear_g(people, volumes[name], contrast)
            for name, contrast in zip(regions["name"], regions["contrast"], strict=True)
        ]
        shown = ["name", "contrast", "g", "g_low", "g_high", "g in statsmodels", "kept_share", "r2", "label"]
        print(f"\n{k} components\n{regions[shown].round(3).to_string(index=False)}")
        checked = validate(study, settings, **tables)
        names = study.covariates.names
        graded = verdicts(checked, baselines(study, settings), study.contrasts, covariate_names=names, **tables)
        print("\n".join(f"{v}: {s}" for v, s in zip(graded["verdict"], graded["sentence"], strict=True)))


if __name__ == "__main__":
    main()
