"""What declines with age in real scans, region by region, beside a published table of cortical volumes.

    python benchmarks/real_ages.py OUTPUT labelresultsANTsOVolume.csv [--site COLUMN] [--labels DATASET ...]

OUTPUT is a group level's, of people whose age and sex are known. The published table holds 62 cortical volumes of
OASIS-1 by ANTs (Tustison et al. 2014; https://github.com/ntustison/KapowskiChronicles, folder ``analytics2``); its
first rows are enough. Both sides give the change of the logarithm of volume over head size per decade, left and right
together, sex removed and here also the sites in COLUMN. The two atlases differ, so regions of one name are compared,
and what counts is their order. Its error is found by bootstrap over the participants of both sides. DATASETs hold
another segmentation of the same scans, DLMUSE's (``derivatives/dlmuse``), in which the same people are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from against_labels import STRUCTURES
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
# The same in the labels of DLMUSE.
CODES = {
    "caudal anterior cingulate": (138, 139),
    "caudal middle frontal": (142, 143),
    "cuneus": (114, 115),
    "fusiform": (122, 123, 160, 161),
    "inferior parietal": (106, 107),
    "inferior temporal": (132, 133),
    "insula": (102, 103, 172, 173),
    "lateral occipital": (128, 129, 144, 145),
    "lateral orbitofrontal": (104, 105, 136, 137, 146, 147, 178, 179),
    "lingual": (134, 135),
    "medial orbitofrontal": (124, 125, 140, 141),
    "middle temporal": (154, 155),
    "parahippocampal": (170, 171),
    "pars opercularis": (162, 163),
    "pars orbitalis": (164, 165),
    "pars triangularis": (204, 205),
    "pericalcarine": (108, 109),
    "postcentral": (176, 177),
    "posterior cingulate": (166, 167),
    "precentral": (182, 183),
    "precuneus": (168, 169),
    "rostral anterior cingulate": (100, 101),
    "superior frontal": (152, 153, 190, 191, 192, 193),
    "superior parietal": (198, 199),
    "superior temporal": (200, 201, 202, 203),
    "supramarginal": (194, 195),
    "transverse temporal": (206, 207),
    **STRUCTURES,
}


def change(shares: pd.DataFrame, age: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percent per decade of each column of volume over head size, and its standard error; ``others`` (N, Q) removed."""
    values, removed = np.log(shares.to_numpy()), np.column_stack([np.ones(len(age)), others])
    at_age, values = (x - removed @ np.linalg.lstsq(removed, x, rcond=None)[0] for x in (age / 10, values))
    slopes = at_age @ values / (at_age @ at_age)
    degrees = len(age) - np.linalg.matrix_rank(removed) - 1  # a drawn sample may lack a site
    spread = np.square(values - np.outer(at_age, slopes)).sum(axis=0) / degrees / (at_age @ at_age)
    return 100 * slopes, 100 * np.sqrt(spread)


def ours(output: Path, site: str | None) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Shares of head size, one row per scan; age in years; sex and sites as columns of 0 and 1."""
    volumes = pd.read_csv(output / "phenotype" / "regional_gm.tsv", sep="\t").set_index("participant_id")
    people = pd.read_csv(output / "phenotype" / "cohort.tsv", sep="\t").set_index("participant_id").loc[volumes.index]
    named = {**REGIONS, **{name: [name] for name in STRUCTURES}}
    sums = {key: volumes[[f"{n}_{side}" for n in names for side in "LR"]].sum(axis=1) for key, names in named.items()}
    shares = pd.DataFrame(sums).div(people["tiv"], axis=0)
    sites = pd.get_dummies(people[site], dtype=float).iloc[:, 1:] if site else people[[]]
    return shares, people["age"].to_numpy(float), np.column_stack([people["sex"] == "M", sites]).astype(float)


def published(table: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The same of the published table."""
    rows = pd.read_csv(table).dropna()
    shares = {key: (rows[f"left {key}"] + rows[f"right {key}"]) / rows["VOLUME"] for key in REGIONS}
    return pd.DataFrame(shares), rows["AGE"].to_numpy(float), (rows[["SEX"]] == 1).to_numpy(float)


def labelled(datasets: list[Path], people: pd.Index) -> pd.DataFrame:
    """Shares of the intracranial volume by DLMUSE's labels, one row per person."""
    rows = []
    for person in people:
        path = next(p for d in datasets for p in (d / "derivatives" / "dlmuse" / person).glob("**/*_dseg.nii.gz"))
        count = np.bincount(np.asarray(nib.load(path).dataobj).astype(int).ravel(), minlength=300)
        rows.append({name: count[list(codes)].sum() / count[1:].sum() for name, codes in CODES.items()})
    return pd.DataFrame(rows, index=people)


def agreement(one: tuple, other: tuple, paired: bool) -> str:
    """Spearman's correlation of both changes and its 95 % by bootstrap; paired where the people are the same."""
    names = [name for name in one[0] if name in other[0]]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(2000):
        rows = rng.integers(len(one[1]), size=len(one[1]))
        chosen = (rows, rows if paired else rng.integers(len(other[1]), size=len(other[1])))
        slopes = [
            change(shares[names].iloc[r], age[r], others[r])[0]
            for (shares, age, others), r in zip((one, other), chosen, strict=True)
        ]
        drawn.append(stats.spearmanr(*slopes)[0])
    rho = stats.spearmanr(*(change(shares[names], age, others)[0] for shares, age, others in (one, other)))[0]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"order of {len(names)} regions: rho {rho:.2f} (bootstrap {low:.2f} to {high:.2f})"


def main() -> None:
    """Print the changes of both and the agreement of their order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("published", type=Path)
    parser.add_argument("--site")
    parser.add_argument("--labels", nargs="+", type=Path, default=[])
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    mine, theirs = ours(args.output, args.site), published(args.published)
    sides = {"here": mine, "published": theirs}
    if args.labels:
        sides["labels"] = (labelled(args.labels, mine[0].index), *mine[1:])
    columns = {}
    for name, side in sides.items():
        slope, error = change(*side)
        columns |= {name: pd.Series(slope, side[0].columns), f"{name}_se": pd.Series(error, side[0].columns)}
    found = pd.DataFrame(columns)
    print(f"{len(mine[1])} scans here, {len(theirs[1])} in the published table; % per decade")
    print(found.sort_values("here").round(2).to_string())
    for name in list(sides)[1:]:
        print(f"here and {name}:", agreement(mine, sides[name], paired=name == "labels"))
    if args.save:
        found.to_csv(args.save, sep="\t", index_label="region")


if __name__ == "__main__":
    main()
