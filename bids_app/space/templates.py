"""Standard-space templates: one bundled with nilearn, any other from TemplateFlow."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import DTypeLike
from scipy import ndimage

from bids_app.errors import ConfigError, UnavailableError, one_line
from bids_app.space.deep_grey import deep_grey
from bids_app.space.package_data import package_folder

from ..schema.units import FWHM_TO_SIGMA

logger = logging.getLogger("latentatlas")

BUNDLED = "MNI152NLin2009aSym"


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
        _load_templateflow(identifier, modifiers)


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
        found = _load_bundled()
    else:
        found = _load_templateflow(identifier, modifiers, fetch)
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


def parse_name(name: str) -> tuple[str, dict[str, str]]:
    """Split ``identifier:cohort-1:res-2`` into the identifier and its modifiers."""
    identifier, *parts = name.split(":")
    modifiers = {}
    for part in parts:
        key, _, value = part.partition("-")
        if key not in ("cohort", "res") or not value:
            raise ConfigError(
                f"The template {name!r} has an unknown modifier: {part!r}.",
                remedy="Use cohort-<label> or res-<label>, as in MNIPediatricAsym:cohort-3.",
            )
        modifiers[key] = value
    if not identifier.isalnum():
        raise ConfigError(f"{name!r} is not a template name.", remedy=f"Use a TemplateFlow name such as {BUNDLED}.")
    return identifier, modifiers


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
    if np.any(sigma > 0):
        data = ndimage.gaussian_filter(data, sigma, mode="constant")
    matrix = np.linalg.inv(source) @ target
    if np.allclose(matrix, np.eye(4), atol=1e-6) and tuple(shape) == data.shape:
        return data
    linear = matrix[:3, :3]
    with warnings.catch_warnings():
        # The same values in half the time where axes stay what they are; SciPy warns of it, for it was once wrong.
        warnings.filterwarnings("ignore", message="The behavior of affine_transform with a 1-D array")
        if not np.any(linear - np.diag(np.diag(linear))):
            linear = np.diag(linear)
        return ndimage.affine_transform(data, linear, matrix[:3, 3], output_shape=shape, order=1, mode="constant")


def _image(data: np.ndarray, affine: np.ndarray, dtype: DTypeLike = np.float32) -> nib.Nifti1Image:
    image = nib.Nifti1Image(np.ascontiguousarray(data, dtype=dtype), affine)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=4)
    return image


def _load_bundled() -> tuple[nib.Nifti1Image, ...]:
    """The ICBM 152 symmetric template (Fonov et al. 2011) in nilearn: brain, GM and WM priors; CSF is the rest."""
    # Only the data is wanted: to import nilearn takes a second.
    folder = package_folder("nilearn") / "datasets" / "data"
    found: list[Any] = [
        nib.load(folder / f"mni_icbm152_{part}_tal_nlin_sym_09a_converted.nii.gz") for part in ("t1", "gm", "wm")
    ]
    t1w, gm, wm = found
    mask = np.asarray(t1w.dataobj) > 0
    gm_data, wm_data = (np.asarray(image.dataobj, dtype=np.float32) / 255 * mask for image in (gm, wm))
    csf_data = np.clip(mask - gm_data - wm_data, 0, None)
    return t1w, *(nib.Nifti1Image(data, t1w.affine) for data in (mask.astype(np.uint8), gm_data, wm_data, csf_data))


def _load_templateflow(identifier: str, modifiers: dict[str, str], fetch: bool = True) -> tuple[nib.Nifti1Image, ...]:
    """T1w, brain mask and the three priors of a TemplateFlow template, fetched if that is wanted and possible."""
    command = f'python -c "from templateflow import api; api.get({identifier!r})"'
    remedy = (
        f"On a machine with a network, run `{command}`. Then copy its TEMPLATEFLOW_HOME folder here and set the "
        f"environment variable TEMPLATEFLOW_HOME to it. Or use the bundled template {BUNDLED}."
    )
    try:
        # Its import alone asks for a network where nothing is cached.
        if not fetch and not _is_cached(identifier):
            raise UnavailableError(f"The template {identifier} is not cached.", remedy=remedy)
        from templateflow.client import TemplateFlowClient

        client = TemplateFlowClient() if fetch else TemplateFlowClient(autoupdate=False)
        home = client.cache.config.root
        known = client.ls(identifier, suffix="T1w", desc=None, extension=".nii.gz")
    except UnavailableError:
        raise
    except Exception as error:
        raise UnavailableError(f"TemplateFlow cannot be read: {error}", remedy=remedy) from error
    if not known:
        raise UnavailableError(
            f"TemplateFlow has no T1w template called {identifier!r}.",
            file=home,
            remedy=f"Check the spelling (see templateflow.org). {remedy}",
        )
    query: dict[str, Any] = {"extension": ".nii.gz"}
    if "cohort" in modifiers:
        query["cohort"] = modifiers["cohort"]
    resolutions = sorted({_entity(path, "res") for path in client.ls(identifier, suffix="T1w", desc=None, **query)})
    if not resolutions:
        raise UnavailableError(
            f"Template {identifier} has no cohort {modifiers.get('cohort')!r}.",
            file=home,
            remedy="Its cohorts: " + ", ".join(sorted({_entity(p, "cohort") for p in known if _entity(p, "cohort")})),
        )
    cohorts = {_entity(path, "cohort") for path in known}
    if "cohort" not in modifiers and len(cohorts) > 1:
        raise ConfigError(
            f"Template {identifier} comes in several cohorts.",
            remedy=f"Choose one: {identifier}:cohort-<label>, of " + ", ".join(sorted(cohorts)) + ".",
        )
    wanted = modifiers.get("res")
    chosen = [r for r in resolutions if wanted is None or r.lstrip("0") == wanted.lstrip("0")]
    if not chosen:
        raise UnavailableError(
            f"Template {identifier} has no resolution {wanted!r}.", remedy="It has: " + ", ".join(resolutions)
        )
    res = chosen[0]  # by convention the finest has the lowest index
    if res:
        query["resolution"] = int(res) if res.isdigit() else res
    parts: list[dict[str, Any]] = [
        {"suffix": "T1w", "desc": None},
        {"suffix": "mask", "desc": "brain"},
        {"suffix": "probseg", "label": "GM"},
        {"suffix": "probseg", "label": "WM"},
        {"suffix": "probseg", "label": "CSF"},
    ]
    get = client.get if fetch else partial(_cached, client)
    return tuple(_fetch(client, identifier, {**query, **part}, remedy, get) for part in parts)


def _is_cached(identifier: str) -> bool:
    """Whether TemplateFlow's folder holds a T1w image of a template; it keeps empty files where it has not fetched."""
    from platformdirs import user_cache_dir  # as TemplateFlow does

    home = Path(os.environ.get("TEMPLATEFLOW_HOME") or user_cache_dir("templateflow"))
    return any(path.stat().st_size for path in (home / f"tpl-{identifier}").rglob("*_T1w.nii*") if path.is_file())


def _cached(client: Any, identifier: str, **query: Any) -> list[Path]:
    found = client.ls(identifier, **query)
    if not all(path.is_file() and path.stat().st_size for path in found):  # TemplateFlow keeps places free for files
        raise FileNotFoundError("nothing is to be downloaded")
    return found


def _fetch(
    client: Any, identifier: str, query: dict[str, Any], remedy: str, get: Callable[..., Any]
) -> nib.Nifti1Image:
    what = " ".join(str(query[key]) for key in ("label", "desc", "suffix") if query.get(key))
    try:
        found = get(identifier, **query)
    except Exception as error:  # requests, datalad and the file system each have their own
        raise UnavailableError(
            f"The {what} of template {identifier} is not cached and could not be fetched ({one_line(error)}).",
            file=client.cache.config.root,
            remedy=remedy,
        ) from error
    if isinstance(found, list):
        if not found:
            raise UnavailableError(
                f"TemplateFlow has no {what} for template {identifier}, which tissue segmentation needs.",
                file=client.cache.config.root,
                remedy=f"Choose a template with GM, WM and CSF priors, such as {BUNDLED} or MNI152NLin2009cAsym.",
            )
        found = found[0]
    try:
        image: Any = nib.load(found)
        return nib.Nifti1Image(np.asarray(image.dataobj, dtype=np.float32), image.affine)
    except Exception as error:
        raise UnavailableError(
            f"The {what} of template {identifier} is damaged ({one_line(error)}).",
            file=found,
            remedy="Delete that file; it will be fetched again.",
        ) from error


def _entity(path: Path, key: str) -> str:
    """Value of a BIDS entity in a file name, or an empty string."""
    return next((part[len(key) + 1 :] for part in Path(path).name.split("_") if part.startswith(f"{key}-")), "")
