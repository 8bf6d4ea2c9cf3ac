"""An atlas that a user brings: an image of labels in whatever form programs save them, and the table of their names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_app.content import check_size, missing_content
from bids_app.delimited import decode, is_number, listed, read_delimited
from bids_app.errors import DatasetError, NoInputError, one_line
from bids_app.schema.atlases import CHOICE

logger = logging.getLogger("latentatlas")

#: How far a label may be from an integer: programs store 8 as 8/32767 times an integer, or as a float a little less.
#: An image that was interpolated, or one of probabilities, has values much further away.
_TOLERANCE = 0.1
_LARGEST = np.iinfo(np.int32).max
_IDENTIFIERS = ("participant_id", "session_id")


def read_atlas_file(path: Path) -> tuple[nib.Nifti1Image, pd.DataFrame, str]:
    """An atlas from a file, with the table beside it.

    Parameters
    ----------
    path : Path
        NIfTI image of labels; ``.tsv`` or ``.csv`` of the same name beside it, with columns ``index`` and ``name``.

    Returns
    -------
    image : Nifti1Image
        int32, three dimensions; 0 where there is no region.
    table : DataFrame
        ``index`` (above 0) and ``name``, of labels that the image has.
    short : str
        Letters and digits, for file names.

    Raises
    ------
    NoInputError, DatasetError
        There is no such file or no table; values that are no labels; a table that does not say which is which.
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    file = _table_file(path, stem)
    image, table = _read_labels(path), _read_table(file)
    labels = np.unique(np.asanyarray(image.dataobj))
    present = table["index"].isin(labels)
    if not present.any():
        raise DatasetError(
            f"none of the atlas's labels is in its table: the image has {_some(labels[labels > 0])}, the table "
            f"{_some(table['index'])}",
            file=file,
            remedy="give the table that belongs to this image",
        )
    if not present.all():
        logger.warning("%s: the image has no voxel of %s", file.name, listed(list(table["name"][~present])))
    if len(extra := labels[(labels > 0) & ~np.isin(labels, table["index"])]):
        logger.warning("%s: labels without a name are not used as regions: %s", path.name, _some(extra))
    entity = re.search(r"(?:atlas|seg)-([a-zA-Z0-9]+)", stem)
    short = entity.group(1) if entity else re.sub(r"[^a-zA-Z0-9]", "", stem)
    return image, table[present].reset_index(drop=True), short or "Atlas"


def _table_file(path: Path, stem: str) -> Path:
    if not path.exists() and not path.is_symlink():
        raise NoInputError(
            f"there is no atlas called '{path}'",
            remedy=f"use {CHOICE}, or the path of a NIfTI image of integer labels",
        )
    if found := missing_content(path):
        raise NoInputError(f"the atlas cannot be read: {found[0]}", file=path, remedy=found[1])
    names = [path.with_name(stem + suffix) for suffix in (".tsv", ".csv")]
    file = next((name for name in names if name.exists() or name.is_symlink()), None)
    if file is None:
        raise NoInputError(
            "the atlas has no table of its regions",
            file=path,
            remedy=f"put {stem}.tsv beside it, with the columns index and name",
        )
    return file


def _read_labels(path: Path) -> nib.Nifti1Image:
    try:
        image: Any = nib.load(path)
        check_size(image.shape)
        data = np.asanyarray(image.dataobj)
        data = data if np.issubdtype(data.dtype, np.integer) else data.astype(np.float64)
    except Exception as error:  # nibabel, gzip and zlib each raise their own kinds for damage
        raise DatasetError(
            f"the atlas cannot be read; it is damaged, truncated or not an image ({one_line(error)})",
            file=path,
            remedy="copy it again",
        ) from None
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    affine = image.affine
    if data.ndim == 4:
        problem = f"the atlas has four dimensions {data.shape}: probability maps per region, not labels"
        raise DatasetError(problem, file=path, remedy="use its image of labels (often called maxprob or dseg)")
    if data.ndim != 3 or not data.size:
        raise DatasetError(
            f"the atlas has the shape {data.shape}; an image of labels must have three dimensions",
            file=path,
            remedy="save it as one three-dimensional image of labels",
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise DatasetError(
            "the header of the atlas does not define the position of its voxels", file=path, remedy="repair it"
        )
    return nib.Nifti1Image(_as_labels(data, path), affine)


def _as_labels(data: np.ndarray, path: Path) -> np.ndarray:
    if not np.issubdtype(data.dtype, np.integer):
        if empty := int(np.isnan(data).sum()):
            logger.info("%s: %d voxels without a value belong to no region", path.name, empty)
            data = np.nan_to_num(data, nan=0.0, posinf=np.inf, neginf=-np.inf)
        with np.errstate(invalid="ignore"):
            rounded = np.rint(data)
            wrong = ~(np.abs(data - rounded) <= _TOLERANCE)
        if wrong.any():
            raise DatasetError(
                f"the atlas contains values that are not labels: {_some(np.unique(data[wrong]))} in "
                f"{wrong.mean():.1%} of its voxels",
                file=path,
                remedy="labels must be integers: resample them by nearest neighbour; for probability maps, use the "
                "maximum",
            )
        data = rounded
    if data.size and data.min() < 0:
        raise DatasetError(
            f"the atlas contains negative labels: {_some(np.unique(data[data < 0]))}",
            file=path,
            remedy="use 0 outside regions; save labels above 127 in a suitable type (int16)",
        )
    if data.max() > _LARGEST:
        raise DatasetError(f"the atlas contains labels above {_LARGEST}", file=path, remedy="renumber its regions")
    return data.astype(np.int32)


def _read_table(file: Path) -> pd.DataFrame:
    delimiter = "\t"
    if file.suffix == ".csv":
        first = next((line for line in decode(file, quiet=True).splitlines() if line.strip()), "")
        delimiter = ";" if ";" in first and "," not in first else ","
    table = read_delimited(file, text=_names(file, delimiter), delimiter=delimiter)
    table.columns = [name.strip().lower() for name in table.columns]
    if not {"index", "name"} <= set(table.columns):
        raise DatasetError(
            f"the table of an atlas needs the columns index and name; it has {', '.join(table.columns)}",
            file=file,
            remedy="rename its columns",
        )
    if wrong := [str(cell) for cell in table["index"].fillna("n/a") if not _is_index(str(cell))]:
        raise DatasetError(
            f"the column index of the table contains values that are not labels: {listed(wrong)}",
            file=file,
            remedy="write the integer labels of the image",
        )
    table = table.assign(index=[int(float(cell)) for cell in table["index"]])
    table = table.loc[table["index"] > 0, ["index", "name"]].drop_duplicates().reset_index(drop=True)
    if nameless := table["index"][table["name"].isna()].tolist():
        raise DatasetError(
            f"regions of the atlas have no name: {_some(np.array(nameless))}", file=file, remedy="name every region"
        )
    for column in ("index", "name"):
        twice = table[column][table[column].duplicated()].unique()
        if len(twice):
            raise DatasetError(
                f"the atlas's table has duplicates of the {column} {listed([str(value) for value in twice])}",
                file=file,
                remedy="give every region a unique label and name (also left and right)",
            )
    if taken := sorted(set(table["name"]) & set(_IDENTIFIERS)):
        raise DatasetError(
            f"no region can be called {', '.join(taken)}, because a column of the tables has that name",
            file=file,
            remedy="rename that region",
        )
    return table


def _names(file: Path, delimiter: str) -> list[str]:
    """All columns stay text: a region may well be called 3, and an index 1.0."""
    return list(read_delimited(file, delimiter=delimiter, quiet=True).columns)


def _is_index(cell: str) -> bool:
    return is_number(cell) and float(cell).is_integer() and abs(float(cell)) <= _LARGEST


def _some(values: Iterable[float]) -> str:
    return listed([f"{value:g}" for value in values])
