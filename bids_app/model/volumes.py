"""Maps of a whole cohort as one memory-mapped array, read from NIfTI once.

``<name>.npy`` holds the N x V values (float16: a rounding of one part in two thousand, which is a millionth of the
variance between people), ``<name>.json`` the grid and which maps were left out and why, ``<name>.mask.npy`` the mask.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed
from numpy.lib.format import open_memmap

from bids_app.errors import DatasetError, ModelError, one_line
from bids_app.model.grid import Grid, Image, Sampling, content_problem, grid_problem, model_resolution

log = logging.getLogger("latentatlas")
MASK_THRESHOLD = 0.1


@dataclass(frozen=True, eq=False)
class Volumes:
    """The cohort's maps on the model grid.

    Attributes
    ----------
    data : (N, V) float16 memory map
        One row a kept map, in the order of ``paths``.
    grid : Grid
        Where the V voxels lie.
    paths : list of str
        The kept maps.
    rejected : list of (str, str)
        The maps left out, and why.
    """

    data: np.ndarray
    grid: Grid
    paths: list[str]
    rejected: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the same file; the maps themselves are never sent.
        if isinstance(self.data, np.memmap) and self.data.filename is not None:
            return load_volumes, (self.data.filename,)
        return Volumes, (self.data, self.grid, self.paths, self.rejected)

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Maps ``index`` as an (n, V) float32 array in memory."""
        return np.asarray(self.data[np.asarray(index, int)], np.float32)

    def batches(self, index: np.ndarray, size: int = 64) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield ``(places in index, (b, V) float32 maps)`` for ``size`` maps at a time."""
        index = np.asarray(index, int)
        for start in range(0, len(index), size):
            places = slice(start, min(start + size, len(index)))
            yield places, self.rows(index[places])

    def mean(self, index: np.ndarray) -> np.ndarray:
        """Mean map of the rows ``index``, (V,) float32."""
        total = np.zeros(self.data.shape[1])
        for _, rows in self.batches(index):
            total += rows.sum(0, dtype=np.float64)
        return (total / len(index)).astype(np.float32)

    def weighted_sum(self, weight: np.ndarray) -> np.ndarray:
        """Sum of the maps, each times its weight (N,), as a (V,) array; maps of weight 0 are not read."""
        index, total = np.flatnonzero(weight), np.zeros(self.data.shape[1])
        for places, rows in self.batches(index):
            total += weight[index[places]] @ rows
        return total


def build_volumes(
    paths: Sequence[str | PathLike[str]],
    out_path: str | PathLike[str],
    *,
    fwhm: float = 8.0,
    resolution: float | None = None,
    mask: Image | str | PathLike[str] | None = None,
    grid: Grid | None = None,
    n_jobs: int = 1,
) -> Volumes:
    """Read maps once, in parallel, smooth and sample them, and keep the voxels of the brain.

    Parameters
    ----------
    paths : sequence of path-like
        NIfTI maps (modulated grey matter), one per scan.
    out_path : path-like
        The array to write, ``.npy``; a ``.json`` and a ``.mask.npy`` are written beside it.
    fwhm : float
        Smoothing, mm (full width at half maximum); 0 for none.
    resolution : float, optional
        Voxel size of the model grid, mm. By default the larger of the maps' own and half of ``fwhm``.
    mask : image or path, optional
        Brain mask in the space of the maps. By default the voxels where the cohort's mean map exceeds 0.1: it depends
        on no label, and on each participant only through the mean of all.
    grid : Grid, optional
        That of a model made beforehand, which then decides smoothing, sampling and mask.
    n_jobs : int
        Threads that read.

    Returns
    -------
    Volumes

    Raises
    ------
    DatasetError
        Fewer than two maps can be used.
    ModelError
        The maps are not on the grid of the maps that the model was trained on.
    """
    names = [str(p) for p in paths]
    out_path = Path(out_path)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    shape, affine = _common_grid(names)
    chosen: np.ndarray | None = None
    if grid is not None:
        sampling, chosen = grid.sampling, grid.mask
        if shape != tuple(sampling.source_shape) or not np.allclose(affine, sampling.source_affine, atol=1e-2):
            raise ModelError(
                f"The model was trained on maps with another grid: {sampling.source_shape}, but these have {shape}.",
                file=names[0],
                remedy="Run the participant level with the model's --template and --resolution (see its card).",
            )
    else:
        size = resolution or model_resolution(np.linalg.norm(affine[:3, :3], axis=0).min(), fwhm)
        sampling = Sampling(shape, affine, float(fwhm), size)
        if mask is not None:
            chosen = _resample_mask(mask, sampling)

    # Without a mask the whole grid is kept until the mean map, and so the mask, is known.
    width = int(chosen.sum()) if chosen is not None else int(np.prod(sampling.shape))
    scratch = out_path.with_name(out_path.name + ".partial")
    store = _new_store(scratch, (len(names), width))
    kept, rejected, total = list[str](), list[tuple[str, str]](), np.zeros(width)
    results = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(
        delayed(_read)(p, sampling, chosen) for p in names
    )
    for path, (values, problem) in zip(names, results, strict=True):
        if problem:
            log.warning("Excluded from the cohort: %s: %s.", path, problem)
            rejected.append((path, problem))
        else:
            store[len(kept)] = values
            total += values
            kept.append(path)
    if len(kept) < 2:
        scratch.unlink()
        raise DatasetError(
            f"Only {len(kept)} of {len(names)} maps can be used.",
            file=rejected[0][0] if rejected else None,
            remedy="The log lists every excluded map, and why.",
        )
    if chosen is None:
        chosen = (total / len(kept) > MASK_THRESHOLD).reshape(sampling.shape)
        columns: np.ndarray | slice = np.flatnonzero(chosen)
    else:
        columns = slice(None)
    grid = grid or Grid(sampling, chosen)
    final = _new_store(out_path, (len(kept), grid.n_voxels))
    for row in range(len(kept)):
        final[row] = store[row][columns]
    final.flush()
    del store, final
    scratch.unlink()
    np.save(_mask_path(out_path), chosen)
    record = {**sampling_to_json(sampling), "paths": kept, "rejected": rejected}
    out_path.with_suffix(".json").write_text(json.dumps(record, indent=1))
    return load_volumes(out_path)


def _new_store(path: Path, shape: tuple[int, int]) -> np.memmap:
    """An array (float16) in a file that has all of its room from the start.

    Where a file is mapped that has not, a full disk ends the process as it writes, without an error (SIGBUS).
    """
    store = open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    if not hasattr(os, "posix_fallocate"):  # macOS
        return store
    try:
        with open(path, "r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            path.unlink()
            raise
        # Any other error: this file system cannot set room aside.
    return store


def load_volumes(path: str | PathLike[str]) -> Volumes:
    """Open what ``build_volumes`` wrote; the maps stay on disk.

    Raises
    ------
    ModelError
        A file is missing or damaged.
    """
    path = Path(path)
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        mask = np.load(_mask_path(path), allow_pickle=False)
        data = np.load(path, mmap_mode="r", allow_pickle=False)
        grid = Grid(sampling_from_json(record), mask)
        rejected = [tuple(r) for r in record["rejected"]]
        if data.shape != (len(record["paths"]), grid.n_voxels):
            raise ValueError("its shape does not match its description")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"The volumes cannot be read: {error}.", file=path, remedy="Delete the file and run again."
        ) from error
    return Volumes(data, grid, record["paths"], rejected)


def sampling_to_json(sampling: Sampling) -> dict[str, Any]:
    """A Sampling as plain JSON values."""
    return {
        "source_shape": list(sampling.source_shape),
        "source_affine": np.asarray(sampling.source_affine).tolist(),
        "fwhm": sampling.fwhm,
        "resolution": sampling.resolution,
    }


def sampling_from_json(record: dict[str, Any]) -> Sampling:
    """The inverse of ``sampling_to_json``; KeyError, TypeError or ValueError where it is damaged."""
    (x, y, z), affine = record["source_shape"], np.array(record["source_affine"], float)
    if affine.shape != (4, 4):
        raise ValueError("the grid is not three-dimensional")
    return Sampling((int(x), int(y), int(z)), affine, float(record["fwhm"]), float(record["resolution"]))


def _mask_path(path: Path) -> Path:
    return path.with_suffix(".mask.npy")


def _common_grid(paths: list[str]) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine that most maps share."""
    votes = Counter[tuple[tuple[int, ...], tuple[float, ...]]]()
    for path in paths:
        try:
            image: Any = nib.load(path)
        except Exception:  # named with its reason when it is read
            continue
        if all(n == 1 for n in image.shape[3:]):
            votes[image.shape[:3], tuple(np.round(image.affine, 3).ravel() + 0.0)] += 1
    if not votes:
        raise DatasetError(
            f"None of the {len(paths)} maps can be read.",
            file=paths[0] if paths else None,
            remedy="Check that the participant level has finished.",
        )
    (shape, affine), _ = votes.most_common(1)[0]
    x, y, z = (int(n) for n in shape)
    return (x, y, z), np.array(affine).reshape(4, 4)


def _read(path: str, sampling: Sampling, mask: np.ndarray | None) -> tuple[np.ndarray | None, str | None]:
    try:
        image: Any = nib.load(path)
        problem = grid_problem(image, sampling.source_shape, sampling.source_affine)
        if problem:
            return None, problem
        data = np.asarray(image.dataobj, np.float32).reshape(sampling.source_shape)
    except Exception as error:
        return None, f"it cannot be read ({one_line(error)})"
    problem = content_problem(data)
    if problem:
        return None, problem
    values = sampling.apply(data)
    return (values.ravel() if mask is None else values[mask]).astype(np.float16), None


def _resample_mask(mask: Image | str | PathLike[str], sampling: Sampling) -> np.ndarray:
    image: Any = mask if isinstance(mask, Image) else nib.load(mask)
    problem = grid_problem(image, sampling.source_shape, sampling.source_affine)
    if problem:
        raise ModelError(f"The brain mask does not fit the maps: {problem}.", remedy="Resample it to their grid.")
    inside = np.asarray(image.dataobj, np.float32).reshape(sampling.source_shape) > 0
    return sampling.apply(inside, smooth=False) >= 0.5
