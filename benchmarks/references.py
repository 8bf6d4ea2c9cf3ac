"""Datasets with an independent segmentation beside them, as the benchmarks read them, and slopes with their errors.

A dataset holds ``participants.tsv`` with ``age``, ``derivatives/dlmuse`` (labels in the scan's own space and
``roi_composites.csv``, which says what labels make up a tissue) and may hold ``derivatives/wmh``, masks of white-matter
hyperintensities.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import stats

GREY, WHITE = 601, 604  # composites of the DLMUSE labels
VENTRICLES = (51, 52)  # the lateral ones
DEEP_GREY = (23, 30, 36, 37, 55, 56, 57, 58, 59, 60)  # accumbens, caudate, pallidum, putamen, thalamus


@dataclass(frozen=True)
class Reference:
    """Labels of one scan, in RAS as the program's own maps are; ``lesions`` is None where nobody looked for them."""

    labels: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    lesions: np.ndarray | None
    ml: float  # volume of a voxel

    def volume(self, where: np.ndarray) -> float:
        """Volume of a mask or of a map of fractions, ml."""
        return float(where.sum(dtype=np.float64)) * self.ml


@dataclass(frozen=True)
class Scan:
    """A T1w image of a dataset."""

    dataset: str
    participant: str
    path: Path
    age: float


@dataclass(frozen=True)
class Line:
    """Slope of a regression with its standard error, and the correlation."""

    slope: float
    error: float
    r: float
    n: int


def find_scans(dataset: Path) -> list[Scan]:
    """All T1w images of a dataset that have reference labels."""
    ages = pd.read_csv(dataset / "participants.tsv", sep="\t").set_index("participant_id")["age"]
    paths = sorted(dataset.glob("sub-*/**/anat/*_T1w.nii.gz"))
    names = [path.relative_to(dataset).parts[0] for path in paths]
    found = [Scan(dataset.name, name, path, float(ages[name])) for name, path in zip(names, paths, strict=True)]
    return [scan for scan in found if (dataset / "derivatives/dlmuse" / scan.participant).is_dir()]


def read_reference(dataset: Path, participant: str) -> Reference:
    """Labels of one participant."""
    with open(dataset / "derivatives/dlmuse/roi_composites.csv", newline="") as stream:
        parts = {int(row[0]): [int(value) for value in row[2:] if value.strip()] for row in csv.reader(stream)}
    labels, ml = read_canonical(next((dataset / "derivatives/dlmuse" / participant).rglob("*_dseg.nii.gz")))
    labels = labels.astype(int)
    lesions = next((dataset / "derivatives/wmh" / participant).rglob("*_mask.nii.gz"), None)
    return Reference(
        labels,
        np.isin(labels, parts[GREY]),
        np.isin(labels, parts[WHITE]),
        None if lesions is None else read_canonical(lesions)[0] > 0,
        ml,
    )


def read_canonical(path: Path) -> tuple[np.ndarray, float]:
    """Values of an image in RAS, and the volume of a voxel in ml."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asanyarray(image.dataobj), float(np.prod(image.header.get_zooms()[:3])) / 1000


def scanner(dataset: str) -> str:
    """Datasets whose names differ only in their number are halves of one collection, from one scanner."""
    return re.sub(r"\d+$", "", dataset)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def fit_line(x, y, group=None) -> Line | None:
    """Regression of y on x, with an intercept for each ``group``; None where fewer than one point is to spare."""
    x, y = (pd.Series(np.asarray(values, dtype=float)) for values in (x, y))
    group = pd.Series(0, index=x.index) if group is None else pd.Series(np.asarray(group), index=x.index)
    x, y = (values - values.groupby(group).transform("mean") for values in (x, y))
    spare = len(x) - group.nunique() - 1
    if spare < 1 or not x.any():
        return None
    slope = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / spare / (x @ x)))
    return Line(slope, error, float(x @ y / np.sqrt((x @ x) * (y @ y))) if y.any() else float("nan"), len(x))


def p_value(line: Line) -> float:
    """Of a slope of one group of points, two-sided."""
    return float(2 * stats.t.sf(abs(line.slope / line.error), line.n - 2))
