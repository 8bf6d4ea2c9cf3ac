"""The model grid: where the autoencoder sees a map, and how a map gets there.

A map is smoothed, sampled on a coarser grid and reduced to the voxels of the brain mask. Everything in this package
works on these vectors of V voxels; the convolutions put them back into a small box (the mask's bounding box, padded
to a multiple of 16 so that four blocks of stride 2 divide it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.errors import ModelError, ScanError
from bids_app.schema.units import FWHM_TO_SIGMA

BOX_MULTIPLE = 16
Image = nib.Nifti1Image


@dataclass(frozen=True, eq=False)
class Sampling:
    """Smoothing and sampling of maps that share one grid.

    Attributes
    ----------
    source_shape : tuple of int
        Shape of the maps.
    source_affine : (4, 4) array
        Voxel-to-world matrix of the maps, mm.
    fwhm : float
        Full width at half maximum of the Gaussian the maps are smoothed with, mm; 0 for none.
    resolution : float
        Voxel size of the model grid, mm.
    """

    source_shape: tuple[int, int, int]
    source_affine: np.ndarray
    fwhm: float
    resolution: float

    @property
    def voxel_sizes(self) -> np.ndarray:
        """Voxel sizes of the maps, mm, (3,)."""
        return np.sqrt((self.source_affine[:3, :3] ** 2).sum(0))

    @property
    def steps(self) -> np.ndarray:
        """Voxels of the map per voxel of the model grid, (3,)."""
        return self.resolution / self.voxel_sizes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the model grid before it is cropped."""
        x, y, z = (int(n) for n in (np.asarray(self.source_shape) - 1 + 1e-6) // self.steps + 1)
        return x, y, z

    @property
    def affine(self) -> np.ndarray:
        """Voxel-to-world matrix of the model grid before it is cropped, mm."""
        return self.source_affine @ np.diag([*self.steps, 1.0])

    def apply(self, data: np.ndarray, *, smooth: bool = True) -> np.ndarray:
        """Smooth a map and sample it on the model grid.

        Parameters
        ----------
        data : (X, Y, Z) array
            The map, on the grid of the maps.
        smooth : bool
            False only samples it (masks).

        Returns
        -------
        (x, y, z) float32 array
        """
        data = np.asarray(data, np.float32)
        if smooth and self.fwhm > 0:
            data = ndimage.gaussian_filter(data, self.fwhm * FWHM_TO_SIGMA / self.voxel_sizes, mode="constant")
        whole = np.rint(self.steps)
        if np.allclose(self.steps, whole, atol=1e-4):  # the grid's points are points of the map: nothing to interpolate
            i, j, k = (int(s) for s in whole)
            return np.ascontiguousarray(data[::i, ::j, ::k])
        return ndimage.affine_transform(data, np.diag(self.steps), output_shape=self.shape, order=1, mode="nearest")


def model_resolution(voxel_size: float, fwhm: float) -> float:
    """Voxel size of the model grid: half the smoothing width, which loses almost nothing of the smoothed map.

    A Gaussian of width F passes 3 % of a wave of length F (its Nyquist sampling is F/2), so 8 mm maps need 4 mm voxels.
    """
    return float(max(voxel_size, fwhm / 2))


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels a model knows.

    Attributes
    ----------
    sampling : Sampling
        How a map reaches the model grid.
    mask : (x, y, z) bool array
        Brain mask on the uncropped model grid, V voxels.
    """

    sampling: Sampling
    mask: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        if self.mask.shape != self.sampling.shape or not self.mask.any():
            raise ModelError(
                f"The brain mask of the model is empty or has another shape ({self.mask.shape}) than its grid "
                f"({self.sampling.shape}).",
                remedy="Use a mask in the space of the maps.",
            )

    @property
    def n_voxels(self) -> int:
        """Voxels in the mask, V."""
        return int(self.mask.sum())

    @property
    def affine(self) -> np.ndarray:
        """Voxel-to-world matrix of the images ``to_image`` makes, mm."""
        return self.sampling.affine

    @cached_property
    def _corner(self) -> tuple[np.ndarray, np.ndarray]:
        where = np.argwhere(self.mask)
        low, extent = where.min(0), np.ptp(where, axis=0) + 1
        box = -(-extent // BOX_MULTIPLE) * BOX_MULTIPLE
        return low - (box - extent) // 2, box

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Shape of the box the convolutions work in, multiples of 16."""
        x, y, z = (int(n) for n in self._corner[1])
        return x, y, z

    @cached_property
    def box_index(self) -> np.ndarray:
        """Flat index of each mask voxel in the box, (V,) int64."""
        corner, box = self._corner
        return np.ravel_multi_index(tuple((np.argwhere(self.mask) - corner).T), box)

    @cached_property
    def mirror(self) -> np.ndarray:
        """For each mask voxel the one at the other side of the mid-sagittal plane, (V,) int64; itself where none is.

        The plane is x = 0 of the standard space; the nearest voxel is taken where the grid is not symmetric about it.
        Applied twice it is the identity, so that mirroring keeps inner products.
        """
        affine = self.sampling.affine
        axis = int(np.argmax(np.abs(affine[0, :3])))
        where = np.argwhere(self.mask)
        world_x = where @ affine[0, :3] + affine[0, 3]
        mirrored = where.copy()
        mirrored[:, axis] = np.rint(where[:, axis] - 2 * world_x / affine[0, axis]).astype(int)
        inside = (mirrored[:, axis] >= 0) & (mirrored[:, axis] < self.mask.shape[axis])
        order = np.full(self.mask.shape, -1)
        order[self.mask] = own = np.arange(len(where))
        partner = np.full(len(where), -1)
        partner[inside] = order[tuple(mirrored[inside].T)]
        paired = (partner >= 0) & (partner[partner] == own)
        return np.where(paired, partner, own)

    def smooth(self, values: np.ndarray, fwhm: float) -> np.ndarray:
        """Smooth maps (n, V) within the mask, zeros around it, by a Gaussian of ``fwhm`` mm."""
        box = np.zeros(self.box_shape, np.float32)
        out = np.empty_like(values, np.float32)
        for row, value in enumerate(values):
            box.ravel()[self.box_index] = value
            smoothed = ndimage.gaussian_filter(box, fwhm * FWHM_TO_SIGMA / self.sampling.resolution, mode="constant")
            out[row] = smoothed.ravel()[self.box_index]
        return out

    def sample(self, image: Image, *, name: str | PathLike[str] | None = None) -> np.ndarray:
        """Bring one map to the model grid.

        Parameters
        ----------
        image : Nifti1Image
            A map on the grid the model was trained on.
        name : path-like, optional
            Its file, for the message.

        Returns
        -------
        (V,) float32 array

        Raises
        ------
        ModelError
            The map lies on another grid.
        ScanError
            The map holds values that are not finite, or nothing.
        """
        problem = grid_problem(image, self.sampling.source_shape, self.sampling.source_affine)
        if problem:
            raise ModelError(
                f"The map does not fit the model: {problem}.",
                file=name,
                remedy="Process the scan with the template and resolution on which the model was trained.",
            )
        data = np.asarray(image.dataobj, np.float32).reshape(self.sampling.source_shape)
        problem = content_problem(data)
        if problem:
            raise ScanError(f"The map cannot be encoded: {problem}.", file=name, remedy="See the scan's report.")
        return self.sampling.apply(data)[self.mask]

    def to_image(self, values: np.ndarray) -> Image:
        """Put values of the mask voxels into an image on the model grid.

        Parameters
        ----------
        values : (V,) or (n, V) array

        Returns
        -------
        Nifti1Image
            3D, or 4D with the n maps last; float32, 0 outside the mask.
        """
        values = np.asarray(values, np.float32)
        data = np.zeros((*self.mask.shape, *values.shape[:-1]), np.float32)
        data[self.mask] = values.T
        return Image(data, self.affine)


def same_grid(image: Image, shape: tuple[int, ...], affine: np.ndarray) -> bool:
    """Whether an image lies on a grid (trailing axes of length 1 and a thousandth of a voxel aside)."""
    found = image.shape[:3] if all(n == 1 for n in image.shape[3:]) else image.shape
    return tuple(found) == tuple(shape) and np.allclose(image.affine, affine, atol=1e-3)


def grid_problem(image: Image, shape: tuple[int, ...], affine: np.ndarray) -> str | None:
    """Say how an image's grid differs from the one asked for, or None."""
    if same_grid(image, shape, affine):
        return None
    return f"its grid is {_grid_words(image.shape, image.affine)}, not {_grid_words(shape, affine)}"


def content_problem(data: np.ndarray) -> str | None:
    """Say what makes a map useless, or None."""
    if not np.isfinite(data).all():
        return "it contains values that are not finite"
    if not data.any():
        return "it is empty"
    return "it has the same value everywhere" if data.min() == data.max() else None


def _grid_words(shape: tuple[int, ...], affine: np.ndarray) -> str:
    sizes = np.sqrt((np.asarray(affine)[:3, :3] ** 2).sum(0))
    origin = ", ".join(f"{v:g}" for v in np.round(np.asarray(affine)[:3, 3], 2))
    return f"{'x'.join(map(str, shape))} voxels of {'x'.join(f'{s:.3g}' for s in sizes)} mm, first voxel at ({origin})"
