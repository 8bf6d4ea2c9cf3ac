"""What declines with age in real scans, region by region, beside a published table of cortical volumes.

    python benchmarks/real_ages.py OUTPUT labelresultsANTsOVolume.csv [--save TABLE]

OUTPUT is a group level's whose maps have an ``age`` in ``participants.tsv``. The published table holds 62 cortical
volumes of OASIS-1 by ANTs (Tustison et al. 2014; https://github.com/ntustison/KapowskiChronicles, folder
``analytics2``); its first rows are enough. Both sides give the change of the logarithm of volume over head size per
decade, sex removed, left and right together. The two atlases differ, so regions of one name are compared, and what
counts is their order. Its error is found by bootstrap over the participants of both sides.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

# The published table's regions in those of AAL2.
REGIONS = {
    "caudal anterior cingulate": ["Cingulate_Mid"],
    "caudal middle frontal": ["Frontal_Mid_2"],
    "cuneus": ["Cuneus"],
    "fusiform": ["Fusiform"],
    "inferior parietal": ["Parietal_Inf", "Angular"],
    "inferior temporal": ["Temporal_Inf"],
    "insula": ["Insula"],
    "lateral occipital": ["Occipital_Mid", "Occipital_Inf"],
    "lateral orbitofrontal": ["OFCmed", "OFCant", "OFCpost", "OFClat"],
    "lingual": ["Lingual"],
    "medial orbitofrontal": ["Frontal_Med_Orb", "Rectus"],
    "middle temporal": ["Temporal_Mid"],
    "paracentral": ["Paracentral_Lobule"],
    "parahippocampal": ["ParaHippocampal"],
    "pars opercularis": ["Frontal_Inf_Oper"],
    "pars orbitalis": ["Frontal_Inf_Orb_2"],
    "pars triangularis": ["Frontal_Inf_Tri"],
    "pericalcarine": ["Calcarine"],
    "postcentral": ["Postcentral"],
    "posterior cingulate": ["Cingulate_Post"],
    "precentral": ["Precentral"],
    "precuneus": ["Precuneus"],
    "rostral anterior cingulate": ["Cingulate_Ant"],
    "superior frontal": ["Frontal_Sup_2", "Frontal_Sup_Medial", "Supp_Motor_Area"],
    "superior parietal": ["Parietal_Sup"],
    "superior temporal": ["Temporal_Sup", "Temporal_Pole_Sup"],
    "supramarginal": ["SupraMarginal"],
    "transverse temporal": ["Heschl"],
}
DEEP = ("Hippocampus", "Amygdala", "Thalamus", "Caudate", "Putamen", "Pallidum")


def change(shares: pd.DataFrame, age: np.ndarray, male: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percent per decade of each column of volume over head size, and its standard error."""
    design = np.column_stack([np.ones(len(age)), age / 10, male])
    values = np.log(shares.to_numpy())
    slopes, *_ = np.linalg.lstsq(design, values, rcond=None)
    residual = values - design @ slopes
    spread = (residual**2).sum(axis=0) / (len(age) - 3) * np.linalg.inv(design.T @ design)[1, 1]
    return 100 * slopes[1], 100 * np.sqrt(spread)


def ours(output: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Shares of head size, one row per scan; age in years; 1 for men."""
    volumes = pd.read_csv(output / "phenotype" / "regional_gm.tsv", sep="\t").set_index("participant_id")
    measures = pd.read_csv(output / "quality.tsv", sep="\t").set_index("participant_id").loc[volumes.index]
    people = pd.read_csv(output / "participants.tsv", sep="\t").set_index("participant_id").loc[volumes.index]
    named = {**REGIONS, **{name: [name] for name in DEEP}}
    sums = {key: volumes[[f"{n}_{side}" for n in names for side in "LR"]].sum(axis=1) for key, names in named.items()}
    shares = pd.DataFrame(sums).div(measures["TIV"], axis=0)
    return shares, people["age"].to_numpy(float), (people["sex"] == "M").to_numpy(float)


def published(table: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The same of the published table."""
    rows = pd.read_csv(table).dropna()
    shares = {key: (rows[f"left {key}"] + rows[f"right {key}"]) / rows["VOLUME"] for key in REGIONS}
    return pd.DataFrame(shares), rows["AGE"].to_numpy(float), (rows["SEX"] == 1).to_numpy(float)


def main() -> None:
    """Print the changes of both and the agreement of their order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("published", type=Path)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    mine, theirs = ours(args.output), published(args.published)
    (slope, error), (other, other_error) = change(*mine), change(*theirs)
    found = pd.DataFrame({"here": slope, "se": error}, index=mine[0].columns)
    found = found.join(pd.DataFrame({"published": other, "published_se": other_error}, index=theirs[0].columns))
    print(f"{len(mine[1])} scans here, {len(theirs[1])} in the published table; % per decade")
    print(found.sort_values("here").round(2).to_string())
    both = found.dropna()
    rng, drawn = np.random.default_rng(0), []
    for _ in range(2000):
        pair = []
        for shares, age, male in (mine, theirs):
            rows = rng.integers(len(age), size=len(age))
            pair.append(pd.Series(change(shares.iloc[rows], age[rows], male[rows])[0], shares.columns)[both.index])
        drawn.append(stats.spearmanr(*pair)[0])
    rho = stats.spearmanr(both["here"], both["published"])[0]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    print(f"order of {len(both)} regions: rho {rho:.2f} (bootstrap {low:.2f} to {high:.2f})")
    if args.save:
        found.to_csv(args.save, sep="\t", index_label="region")


if __name__ == "__main__":
    main()
