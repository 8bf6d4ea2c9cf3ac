"""Grey matter of the participant level against reference labels, and whether the difference changes with age.

    python benchmarks/against_labels.py DATASET OUTPUT [DATASET OUTPUT ...] [--tsv scans.tsv]

DATASET is one of those that ``references.py`` describes, OUTPUT what the participant level wrote for it. Everything is
summed on the scan's own grid; a ratio is ours over the reference's, a bias the slope of its logarithm on age. Regional
structures are AAL2's in ``phenotype/regional_gm.tsv``, over the intracranial volume, against the labels' own; where
that table is missing they are left out. A second reference moves the labels' border with fluid to where the scan is
half-way between fluid and grey matter: the labels draw it at another place in each dataset. Datasets of one scanner
are also taken together, with one intercept; all datasets together have an intercept each, so that a difference between
them is no slope.

decline of ours = decline of the reference + bias of GM - bias of TIV. Two errors may cancel in it: read all three.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from references import VENTRICLES, dice, find_scans, fit_line, p_value, read_canonical, read_reference, scanner

from bids_app.simulate import planted
from bids_app.space.boxes import bounding_box

# Beginning of the AAL2 names -> DLMUSE labels, right and left.
STRUCTURES = {
    "Hippocampus": (47, 48),
    "Amygdala": (31, 32),
    "Thalamus": (59, 60),
    "Caudate": (36, 37),
    "Putamen": (57, 58),
    "Pallidum": (55, 56),
}
PAIRS = {"GM": "gm_ref", "WM": "wm_ref", "TIV": "icv_ref"}


def measure(dataset: Path, output: Path) -> pd.DataFrame:
    """One row per scan: volumes in ml of ours and of the reference, overlaps, what hyperintensities are called."""
    found = output / "phenotype" / "regional_gm.tsv"
    regional = (
        pd.read_csv(found, sep="\t").groupby("participant_id").mean(numeric_only=True) if found.exists() else None
    )
    rows, missing = [], []
    for scan in find_scans(dataset):
        folder = output / scan.participant
        sidecar = next(folder.rglob("*_desc-modulated_probseg.json"), None)
        if sidecar is None:
            missing.append(scan.participant)
            continue
        facts, reference = json.loads(sidecar.read_text()), read_reference(dataset, scan.participant)
        grey, white, fluid = (_native(folder, f"label-{label}_probseg") for label in ("GM", "WM", "CSF"))
        mask = _native(folder, "desc-brain_mask") > 0
        row = {
            "dataset": scan.dataset,
            "participant_id": scan.participant,
            "age": scan.age,
            "verdict": facts["QualityVerdict"],
            "reasons": "; ".join(facts["QualityReasons"]),
            "dice": dice(grey > 0.5, reference.grey),
            "mask_dice": dice(mask, reference.labels > 0),
            "GM": facts["GMVolume"],
            "WM": facts["WMVolume"],
            "TIV": facts["TIV"],
            "gm_ref": reference.volume(reference.grey),
            "wm_ref": reference.volume(reference.white),
            "icv_ref": reference.volume(reference.labels > 0),
        }
        row["gm_border"], row["wm_border"] = by_brightness(_native(folder, "desc-preproc_T1w"), mask, reference)
        if reference.lesions is not None:
            spots = reference.lesions
            row["lesions"] = reference.volume(spots)
            row |= {
                f"lesions_{name}": reference.volume(part * spots)
                for name, part in (("grey", grey), ("white", white), ("fluid", fluid))
            }
        for structure, labels in STRUCTURES.items():
            row[f"{structure}_ref"] = reference.volume(np.isin(reference.labels, labels))
            if regional is not None and scan.participant in regional.index:
                names = [name for name in regional.columns if name.startswith(structure)]
                row[structure] = float(regional.loc[scan.participant, names].sum())
        rows.append(row)
    if missing:
        print(f"no map in {output} of {len(missing)} scans: {' '.join(missing)}")
    return pd.DataFrame(rows)


def by_brightness(scan: np.ndarray, mask: np.ndarray, reference) -> tuple[float, float]:
    """Grey and white matter of the labels in ml, bordered by the scan's brightness. Voxels are taken for cubes."""
    mm = (1000 * reference.ml) ** (1 / 3)
    box = bounding_box(mask)
    parts = mask, reference.grey, reference.white, np.isin(reference.labels, VENTRICLES)
    brain = planted.anatomy(scan[box], *(part[box] for part in parts), mm)
    return tuple(
        reference.ml / planted.FINE**3 * np.count_nonzero(brain.tissue == tissue)
        for tissue in (planted.GREY, planted.WHITE)
    )


def _native(folder: Path, ending: str) -> np.ndarray:
    """The participant's image in the scan's own space."""
    path = next(p for p in folder.rglob(f"*_{ending}.nii.gz") if "_space-" not in p.name)
    return read_canonical(path)[0]


def report(title: str, t: pd.DataFrame) -> str:
    """What is measured on some scans, as text."""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in t.verdict.value_counts().items())
    lines = [
        f"{title}: {len(t)} scans, {t.age.min():.0f} to {t.age.max():.0f} years; verdicts: {verdicts}",
        f"  Dice of grey matter {t.dice.mean():.3f} ({t.dice.min():.3f}-{t.dice.max():.3f}), "
        f"of the mask {t.mask_dice.mean():.3f}",
    ]
    for ours, theirs in PAIRS.items():
        ratio = np.log(t[ours] / t[theirs])
        r = np.corrcoef(t[ours], t[theirs])[0, 1] if len(t) > 2 else np.nan
        told = f"ratio {np.exp(ratio.mean()):.3f}, sd {ratio.std():.3f}, r {r:.3f}"
        lines.append(f"  {ours:5s} {told}, bias {per_decade(t.age, ratio)}")
    both = np.log((t.GM + t.WM) / (t.gm_ref + t.wm_ref))
    lines.append(f"  GM+WM ratio {np.exp(both.mean()):.3f}, sd {both.std():.3f}, bias {per_decade(t.age, both)}")
    for name, ours, theirs in (("GM", t.GM, t.gm_border), ("GM+WM", t.GM + t.WM, t.gm_border + t.wm_border)):
        ratio = np.log(ours / theirs)
        told = f"ratio {np.exp(ratio.mean()):.3f}, sd {ratio.std():.3f}, bias {per_decade(t.age, ratio)}"
        lines.append(f"  {name:5s} with the border by brightness: {told}")
    lines.append(
        f"  GM/TIV changes by {per_decade(t.age, np.log(t.GM / t.TIV))}, "
        f"the reference's by {per_decade(t.age, np.log(t.gm_ref / t.icv_ref))}"
    )
    lines += structures(t) + lesions(t)
    return "\n".join(lines)


def per_decade(age: pd.Series, logarithm: pd.Series) -> str:
    """Slope on age in % per decade, with its standard error."""
    line = fit_line(age, logarithm)
    if line is None:
        return "not measured (three ages are needed)"
    return f"{1000 * line.slope:+.2f} % per decade (se {1000 * line.error:.2f}, p {p_value(line):.2g})"


def structures(t: pd.DataFrame) -> list[str]:
    """Regional structures over the intracranial volume: r and slope of the logarithms, an intercept each dataset."""
    lines = []
    for structure in STRUCTURES:
        rows = t[t[structure].notna()] if structure in t else t[:0]
        if rows.empty:
            continue
        x, y = np.log(rows[f"{structure}_ref"] / rows.icv_ref), np.log(rows[structure] / rows.TIV)
        line = fit_line(x, y, rows.dataset)
        told = f"r {line.r:.2f}, slope {line.slope:.2f} (se {line.error:.2f}), " if line else ""
        lines.append(f"  {structure:12s}{told}ratio {np.exp((y - x).mean()):.2f}")
    return lines


def lesions(t: pd.DataFrame) -> list[str]:
    """What the maps call hyperintensities: over all of their volume, and of the median scan."""
    rows = t[t.lesions > 0] if "lesions" in t else t[:0]
    if rows.empty:
        return []
    parts = []
    for name in ("grey", "white", "fluid"):
        share = rows[f"lesions_{name}"] / rows.lesions
        pooled = rows[f"lesions_{name}"].sum() / rows.lesions.sum()
        parts.append(f"{name} {100 * pooled:.0f} % (median {100 * share.median():.0f} %)")
    return [f"  hyperintensities ({rows.lesions.sum():.0f} ml in {len(rows)} scans) are called " + ", ".join(parts)]


def report_all(tables: list[pd.DataFrame]) -> str:
    """Every dataset, those of one scanner together, and the structures over all of them."""
    parts = [report(t.dataset.iloc[0], t) for t in tables]
    everyone = pd.concat(tables, ignore_index=True)
    for name, t in everyone.groupby(everyone.dataset.map(scanner), sort=False):
        if t.dataset.nunique() > 1:
            parts.append(report(f"{name}, {' and '.join(t.dataset.unique())} together", t))
    if len(tables) > 1:
        parts.append("\n".join([f"all {len(everyone)} scans, an intercept each dataset", *structures(everyone)]))
    marked = everyone[everyone.verdict != "pass"]
    parts += ["\n".join(f"{r.verdict}: {r.dataset}/{r.participant_id}: {r.reasons}" for r in marked.itertuples())]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=Path, metavar="DATASET OUTPUT")
    parser.add_argument("--tsv", type=Path, help="where the scans' numbers are kept")
    args = parser.parse_args()
    if len(args.pairs) % 2:
        parser.error("an output must follow every dataset")
    tables = [measure(*pair) for pair in zip(args.pairs[::2], args.pairs[1::2], strict=True)]
    tables = [t for t in tables if len(t)]
    if not tables:
        raise SystemExit("no maps were found")
    print(report_all(tables))
    if args.tsv:
        pd.concat(tables).round(5).to_csv(args.tsv, sep="\t", index=False)


if __name__ == "__main__":
    main()
