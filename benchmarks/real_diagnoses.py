"""Published tables of people with and without dementia through the group level's tests, beside a known answer.

    python benchmarks/real_diagnoses.py oasis oasis_cross-sectional.csv oasis_hippocampus.csv [--components 1 2]
    python benchmarks/real_diagnoses.py adni reconciled_FSCross.csv [--components 4 8]

- oasis: hippocampal volumes and clinical dementia ratings of OASIS-1 (https://github.com/stnava/RMI, folder
  ``tomfletcher``), people of 60 or more with a rating of 0, 0.5 or 1; age, sex and head size removed. The known answer:
  the hippocampus first, and more than the rest of the brain.
- adni: thickness of 62 cortical regions of ADNI-1 at the first visit, by FreeSurfer or ANTs
  (https://github.com/ntustison/CrossLong, folder ``Data``, ``reconciled_*.csv``); age and sex removed. The known
  answer: entorhinal and temporal cortex first, primary motor and sensory cortex last.

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
DESIGNS = {
    "oasis": Design("group", ("CDR05-CDR0", "CDR1-CDR0", "CDR0<CDR05<CDR1"), ("age", "sex", "tiv")),
    "adni": Design("group", ("AD-CN", "LMCI-CN", "CN<LMCI<AD"), ("age", "sex")),
}
SHOWN = ["name", "contrast", "g", "g_low", "g_high", "g in statsmodels", "kept_share", "r2_within", "label"]


def read_oasis(people: Path, hippocampus: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People with a rating, and their volumes in ml."""
    table = pd.read_csv(people).merge(pd.read_csv(hippocampus), on="ID")
    table = table[(table["Age"] >= 60) & table["CDR"].isin(RATINGS)].reset_index(drop=True)
    volumes = pd.DataFrame(
        {f"hippocampus, {side}": table[f"{side.title()}HippoVol"] / 1000 for side in ("right", "left")}
    )
    volumes["rest of the brain"] = table["nWBV"] * table["eTIV"] - volumes.sum(axis=1)
    labels = "sub-" + table["ID"].str.split("_").str[1]
    columns = {"group": table["CDR"].map(RATINGS), "age": table["Age"], "sex": table["M/F"], "tiv": table["eTIV"]}
    return pd.DataFrame({"participant_id": labels, **columns}), volumes


def read_adni(thickness: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People at their first visit, and their thickness in mm."""
    table = pd.read_csv(thickness)
    table = table[table["VISIT"] == 0].reset_index(drop=True)
    regions = table.filter(like="thickness.").rename(columns=lambda c: c.removeprefix("thickness.").replace(".", " "))
    labels = "sub-" + table["ID"].str.replace("_", "")
    columns = {"group": table["DIAGNOSIS"], "age": table["AGE"], "sex": table["SEX"]}
    return pd.DataFrame({"participant_id": labels, **columns}), regions


def linear_g(people: pd.DataFrame, covariates: tuple[str, ...], values: pd.Series, contrast: str) -> float:
    """Hedges g of a linear model with the covariates; NaN for the order."""
    if "<" in contrast:
        return float("nan")
    mine = people[people["group"].isin(contrast.split("-"))]
    y = (mine["group"] == contrast.split("-")[0]).astype(float)
    removed = [mine[name] == "M" if name == "sex" else mine[name] for name in covariates]
    fit = sm.OLS(values[mine.index], np.column_stack([np.ones(len(mine)), y, *removed])).fit()
    return float(fit.params.iloc[1] / np.sqrt(fit.scale) * (1 - 3 / (4 * fit.df_resid - 1)))


def main() -> None:
    """Print the regions that differ most, the labels of all, and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=list(DESIGNS))
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--components", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--top", type=int, default=12)
    args = parser.parse_args()
    people, values = read_oasis(*args.tables) if args.source == "oasis" else read_adni(*args.tables)
    print(len(people), people["group"].value_counts().to_dict())
    design, settings = DESIGNS[args.source], AnalysisSettings(n_permutations=2000)
    for k in args.components:
        study = study_of_volumes(people, values, design, latent_dim=k, seed=1)
        tables = {"lrcp_regions": lrcp(study, settings).regions, "sam_regions": sam(study, settings)}
        regions = tables["lrcp_regions"]
        regions["g in statsmodels"] = [
            linear_g(people, design.covariates, values[name], contrast)
            for name, contrast in zip(regions["name"], regions["contrast"], strict=True)
        ]
        print(f"\n{k} components; g is off by at most {(regions['g'] - regions['g in statsmodels']).abs().max():.1e}")
        for contrast, mine in regions.groupby("contrast", sort=False):
            largest = mine.reindex(mine["difference_ml"].abs().sort_values(ascending=False).index)
            if mine["g"].notna().any():
                largest = mine.reindex(mine["g"].abs().sort_values(ascending=False).index)
            print(f"\n{contrast}: {mine['label'].value_counts().to_dict()}")
            print(largest[SHOWN].head(args.top).round(3).to_string(index=False))
        checked = validate(study, settings, **tables)
        names = study.covariates.names
        graded = verdicts(checked, baselines(study, settings), study.contrasts, covariate_names=names, **tables)
        print("\n".join(f"{v}: {s}" for v, s in zip(graded["verdict"], graded["sentence"], strict=True)))


if __name__ == "__main__":
    main()
