"""Standard-space templates and their tissue priors, on the grid that is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import nibabel as nib
import numpy as np
from numpy.typing import DTypeLike
from scipy import ndimage

from bids_app.errors import ConfigError
from bids_app.space.boxes import bounding_box
from bids_app.space.deep_grey import deep_grey
from bids_app.space.resample import resample
from bids_app.space.template_sources import BUNDLED, load_bundled, load_templateflow, parse_name

from ..schema.units import FWHM_TO_SIGMA

BLUR_REACH = 4.0  # standard deviations


@dataclass(frozen=True)
class Template:
    """A T1-weighted template and its tissue priors, all on one isotropic RAS grid.

    Attributes
    ----------
    name : str
        TemplateFlow identifier without modifiers, the value of the ``space-`` entity.
    resolution : float
        Voxel edge in mm.
    t1w : Nifti1Image, float32
        Brain-extracted template.
    mask : Nifti1Image, uint8
        Brain mask (cerebrospinal fluid included).
    gm, wm, csf : Nifti1Image, float32
        Prior probabilities; they sum to one inside ``mask`` and are zero outside.
    make_priors : callable
        Makes these and ``deep``.
    cohort : str or None
        Cohort of a template that has several (MNIPediatricAsym, ...).
    deep : Nifti1Image, float32, or None
        Probability of thalamus, pallidum, putamen and caudate, whose intensity is close to white matter's; only for
        templates in MNI152 space.
    full_name : str
        The name with its modifiers, as given to :func:`get_template`.
    """

    name: str
    resolution: float
    t1w: nib.Nifti1Image
    mask: nib.Nifti1Image
    make_priors: Callable[[], tuple[nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image | None]]
    cohort: str | None = None
    full_name: str = BUNDLED

    # Made when first asked for: they take ten times as long as the picture of the brain, and a report needs that alone.
    @cached_property
    def _priors(self) -> tuple[nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image | None]:
        return self.make_priors()

    @property
    def gm(self) -> nib.Nifti1Image:
        return self._priors[0]

    @property
    def wm(self) -> nib.Nifti1Image:
        return self._priors[1]

    @property
    def csf(self) -> nib.Nifti1Image:
        return self._priors[2]

    @property
    def deep(self) -> nib.Nifti1Image | None:
        return self._priors[3]

    @property
    def gm_with_deep(self) -> nib.Nifti1Image:
        """Grey-matter prior, deep nuclei included: what a segmentation that has ``deep`` should look like."""
        if self.deep is None:
            return self.gm
        gm, deep = (np.asarray(image.dataobj) for image in (self.gm, self.deep))
        return _image(gm + (1 - gm) * deep, self.affine)

    @property
    def wm_without_deep(self) -> nib.Nifti1Image:
        """White-matter prior, deep nuclei left out."""
        if self.deep is None:
            return self.wm
        return _image(np.asarray(self.wm.dataobj) * (1 - np.asarray(self.deep.dataobj)), self.affine)

    @property
    def affine(self) -> np.ndarray:
        return self.t1w.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        x, y, z = self.t1w.shape
        return x, y, z


@lru_cache(maxsize=2)
def get_template(name: str = BUNDLED, resolution: float | None = None, *, fetch: bool = True) -> Template:
    """Load a template on an isotropic grid.

    Parameters
    ----------
    name : str
        Template identifier, with TemplateFlow modifiers if need be: ``MNI152NLin2009cAsym``,
        ``MNIPediatricAsym:cohort-3``, ``MNI152NLin6Asym:res-2``. ``MNI152NLin2009aSym`` never needs a network.
    resolution : float, optional
        Voxel edge in mm; the template's own when not given.
    fetch : bool
        Without it nothing is downloaded, and nobody waits for a network: the template is at hand or it is not.

    Returns
    -------
    Template

    Raises
    ------
    ConfigError
        The name has a modifier that is not known, or the resolution is not positive.
    UnavailableError
        TemplateFlow has no such template, or it is not cached and cannot be fetched.
    """
    _check_resolution(resolution)
    fetch = fetch and name != BUNDLED  # which is always at hand: whoever asks shares what is made of it
    t1w, brain = _native(name, fetch)[:2]
    resolution = float(resolution or np.min(t1w.header.get_zooms()[:3]))
    identifier, modifiers = parse_name(name)
    affine, shape = isotropic_grid(t1w, resolution)
    t1w_grid = _to_grid(_head(t1w, brain), t1w.affine, affine, shape)
    mask_grid = _to_grid(brain.astype(np.float32), t1w.affine, affine, shape) > 0.5
    return Template(
        name=identifier,
        resolution=resolution,
        t1w=_image(t1w_grid * mask_grid, affine),
        mask=_image(mask_grid, affine, np.uint8),
        make_priors=partial(_priors_on_grid, name, fetch, mask_grid, affine),
        cohort=modifiers.get("cohort"),
        full_name=name,
    )


def _priors_on_grid(
    name: str, fetch: bool, mask: np.ndarray, affine: np.ndarray
) -> tuple[nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image | None]:
    """The GM, WM and CSF priors and the deep prior, or None, of a template on a grid."""
    native, depth, source = _native_priors(name, fetch)
    priors = np.stack([_to_grid(prior, source, affine, mask.shape) for prior in native])
    priors = np.clip(priors, 0, None)
    # A voxel of the mask where no prior says anything (a rim at most) is fluid.
    priors[2] += priors.sum(0) < 1e-3
    gm, wm, csf = (_image(prior, affine) for prior in np.where(mask, priors / priors.sum(0), 0))
    deep = None if depth is None else _image(_to_grid(depth, source, affine, mask.shape) * mask, affine)
    return gm, wm, csf, deep


def check_template(name: str, resolution: float) -> None:
    """Make sure that a template is at hand, fetched if need be, without the seconds that preparing it takes.

    Raises as :func:`get_template` does.
    """
    _check_resolution(resolution)
    identifier, modifiers = parse_name(name)
    if identifier != BUNDLED or modifiers:
        load_templateflow(identifier, modifiers)


def _check_resolution(resolution: float | None) -> None:
    if resolution is not None and not 0.3 <= resolution <= 10:
        raise ConfigError(
            f"A template resolution of {resolution:g} mm is out of range.", remedy="Choose 0.3 to 10 mm (default 1.5)."
        )


@lru_cache(maxsize=1)
def _native(name: str, fetch: bool) -> tuple[nib.Nifti1Image, np.ndarray, tuple[nib.Nifti1Image, ...]]:
    """A template on its own grid: T1w, brain mask, and the GM, WM and CSF priors."""
    identifier, modifiers = parse_name(name)
    if identifier == BUNDLED and not modifiers:
        found = load_bundled()
    else:
        found = load_templateflow(identifier, modifiers, fetch)
    t1w, mask, *priors = (nib.as_closest_canonical(image) for image in found)
    return t1w, np.asarray(mask.dataobj) > 0.5, tuple(priors)


def _head(t1w: nib.Nifti1Image, brain: np.ndarray) -> np.ndarray:
    return np.asarray(t1w.dataobj, dtype=np.float32) * brain


@lru_cache(maxsize=1)
def _native_priors(name: str, fetch: bool) -> tuple[list[np.ndarray], np.ndarray | None, np.ndarray]:
    """The GM, WM and CSF priors, the deep prior or None, and the affine of a template on its own grid."""
    t1w, brain, images = _native(name, fetch)
    priors = [np.array(prior.dataobj, dtype=np.float32) for prior in images]
    deep = None
    if name.startswith("MNI152"):
        deep, walls = deep_grey(_head(t1w, brain), brain, priors[1], priors[2], t1w.affine)
        priors[1][walls] += priors[0][walls]
        priors[0][walls] = 0
    return priors, deep, t1w.affine


def res_label(resolution: float) -> str:
    """BIDS ``res-`` label of a voxel edge in mm: 2.0 -> ``"2"``, 1.5 -> ``"1p5"``."""
    return f"{resolution:.3f}".rstrip("0").rstrip(".").replace(".", "p")


def isotropic_grid(image: nib.Nifti1Image, resolution: float) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Isotropic grid with the first voxel of ``image`` (RAS) as its first voxel, covering the whole image.

    Returns
    -------
    affine : (4, 4) array
    shape : 3 ints
    """
    zooms = np.asarray(image.header.get_zooms()[:3], dtype=float)
    affine = image.affine.astype(float).copy()
    affine[:3, :3] *= resolution / zooms
    shape = tuple(math.ceil(n * z / resolution - 1e-6) for n, z in zip(image.shape[:3], zooms, strict=True))
    return affine, shape


def _to_grid(data: np.ndarray, source: np.ndarray, target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resample by linear interpolation after the blur that the coarser grid needs (FWHMs add in quadrature)."""
    old = np.linalg.norm(source[:3, :3], axis=0)
    new = np.linalg.norm(target[:3, :3], axis=0)
    sigma = np.sqrt(np.maximum(new**2 - old**2, 0)) * FWHM_TO_SIGMA / old
    matrix = np.linalg.inv(source) @ target
    if np.allclose(matrix, np.eye(4), atol=1e-6) and tuple(shape) == data.shape:
        return data
    if not data.any():
        return np.zeros(shape, data.dtype)
    # What lies around the brain is empty, and more than half of a template.
    box = bounding_box(data != 0, np.ceil(BLUR_REACH * sigma).astype(int) + 1)
    part = data[box]
    if np.any(sigma > 0):
        part = ndimage.gaussian_filter(part, sigma, mode="constant", truncate=BLUR_REACH)
    start = np.array([s.start for s in box])
    corners = np.array([*np.ndindex(2, 2, 2)]) * part.shape + start - 0.5
    reached = nib.affines.apply_affine(np.linalg.inv(matrix), corners)
    first = np.clip(np.floor(reached.min(0)), 0, shape).astype(int)
    last = np.clip(np.ceil(reached.max(0)) + 1, first, shape).astype(int)
    matrix[:3, 3] += matrix[:3, :3] @ first - start
    found = np.zeros(shape, part.dtype)
    found[tuple(slice(f, n) for f, n in zip(first, last, strict=True))] = resample(part, matrix, tuple(last - first))
    return found


def _image(data: np.ndarray, affine: np.ndarray, dtype: DTypeLike = np.float32) -> nib.Nifti1Image:
    image = nib.Nifti1Image(np.ascontiguousarray(data, dtype=dtype), affine)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=4)
    return image
