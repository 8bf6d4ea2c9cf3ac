"""Find the brain, and tell whether the scan came without a skull."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant._ants import image_like, voxel_volume
from bids_app.participant._grid import below_the_head, block_mean, coarse_affine, interpolate
from bids_app.participant.membranes import trim_membranes
from bids_app.space.boxes import bounding_box
from bids_app.space.distances import edge_distance

logger = logging.getLogger("latentatlas")

SHELL_MM = (6.0, 14.0)  # where skull and scalp are, away from the brain
STRIPPED_SHARE = 0.9  # of that shell is background in a stripped scan; 0.1 to 0.3 in a head (skull is dark)
FAINT = 0.08  # of the bright tissue's intensity: resampling leaves a halo round a stripped brain, denoising a haze
EMPTY = 0.02  # the same for a hole in the brain: fluid may be dark, too, but not as dark as what was cut out
MISSING_MM = 3.0  # a hole this far from anything is no sulcus, however tight the stripping
VOID_MM = 4.0  # zeros within a ball of this radius are empty space, not dark voxels of a head
SAMPLED_MM = 2.0  # their area is measured on voxels of about this size
BESIDE_MM = 3.0  # the mask may end this far from a cut
WIDE_MM = 300.0  # a field of view beyond which empty space is taken off before the network looks
NECK_MM = 3.0  # beyond the outline that the network sees
NECK_SHARE = 0.02  # of what the stripping left; less is a matter of where to draw the outline
NETWORK_MM = 1.0  # it works on 256 voxels across the brain, and takes the nearest ones of a scan
PIECE_ML = 1.0  # a part of the brain that the stripping left apart from the rest
PLAUSIBLE_ML = (500.0, 2600.0)


@dataclass(frozen=True)
class BrainMask:
    """A brain mask and how it came about.

    Attributes
    ----------
    mask : Nifti1Image, uint8
    method : str
        ``"deepbet"``, of a full head less the membranes; or ``"support"``: the non-background voxels of a stripped
        scan, in mode auto less a neck.
    input_was_stripped : bool
    background_share : float
        Share of background in the shell round the brain, on which the automatic choice rests.
    missing_share : float or None
        Share of the brain, as the network sees its outline, that the scan does not hold (:func:`missing_share`); None
        where the network was not asked.
    """

    mask: nib.Nifti1Image
    method: str
    input_was_stripped: bool
    background_share: float
    missing_share: float | None = None


def extract_brain(t1w: nib.Nifti1Image, mode: str = "auto", n_threads: int = 1, use_gpu: bool = False) -> BrainMask:
    """Brain mask of a T1w image.

    Parameters
    ----------
    t1w : Nifti1Image
        3D, RAS (``inputs.load_t1w``).
    mode : {"auto", "force", "skip"}
        auto: strip unless the scan is stripped already; force: always strip; skip: take the scan as stripped.
    n_threads : int
        Threads of the network.
    use_gpu : bool
        Let the network use a GPU.

    Returns
    -------
    BrainMask

    Raises
    ------
    ScanError
        No brain was found.

    References
    ----------
    Fisch et al. 2024, deepbet: fast brain extraction of T1-weighted MRI using convolutional neural networks.
    """
    if mode == "skip":
        mask = support(t1w)
        _check_volume(mask, t1w, skipped=True)
        return BrainMask(image_like(mask, t1w, np.uint8), "support", True, 1.0)
    brain = _deepbet_mask(t1w, n_threads, use_gpu)
    _check_volume(brain, t1w)
    share = background_share(t1w, brain)
    stripped = share > STRIPPED_SHARE
    missing = missing_share(t1w, brain)
    if not stripped:
        brain = trim_membranes(t1w, brain)
        _check_volume(brain, t1w)
    if mode != "auto" or not stripped:
        return BrainMask(image_like(brain, t1w, np.uint8), "deepbet", stripped, share, missing)
    # What the stripping left is taken as it is, less a neck that the network sees to be none of the brain. Its outline
    # itself is no use here: on a stripped scan it may go through empty space.
    mask = support(t1w, brain)
    box = bounding_box(mask | brain)
    away = edge_distance(~brain[box], t1w.header.get_zooms()[:3])
    beyond = mask[box] & (away > NECK_MM)
    if np.count_nonzero(beyond) > NECK_SHARE * np.count_nonzero(mask):
        mask[box] &= ~beyond
    _check_volume(mask, t1w)
    return BrainMask(image_like(mask, t1w, np.uint8), "support", True, share, missing)


def background_share(t1w: nib.Nifti1Image, brain: np.ndarray) -> float:
    """Share of the shell 6 to 14 mm outside the brain that is background, 0 to 1.

    A head has scalp and skull there, a stripped scan nothing. Where a scan ends at the brain (a cropped field of
    view) the missing part of the shell counts neither way.
    """
    zooms = t1w.header.get_zooms()[:3]
    box = bounding_box(brain, np.ceil(SHELL_MM[1] / np.asarray(zooms)).astype(int))
    background, brain = _is_background(np.asarray(t1w.dataobj))[box], brain[box]
    distance = edge_distance(~brain, zooms)
    shell = (distance > SHELL_MM[0]) & (distance < SHELL_MM[1])
    if not shell.any():
        return 0.0
    # Defacing zeroes the front of a head, which says nothing about the rest: look above and behind the centre.
    centre = ndimage.center_of_mass(brain)
    axes = np.ogrid[tuple(slice(n) for n in shell.shape)]
    vault = shell & ((axes[2] > centre[2]) | (axes[1] < centre[1]))
    if np.count_nonzero(vault) > 0.2 * np.count_nonzero(shell):
        shell = vault
    return float(np.mean(background[shell]))


def missing_share(t1w: nib.Nifti1Image, brain: np.ndarray) -> float:
    """Share of a brain mask in holes: background, open to the outside, and as wide as a ball of 3 mm radius.

    Stripping or defacing that cut into the brain leaves such a hole inside the outline that the network completes;
    stripping that only took the fluid away leaves sulci, which are narrower. Ventricles, however dark, are closed.
    """
    zooms = t1w.header.get_zooms()[:3]
    box = bounding_box(brain)
    empty, outside = (brain & _is_background(np.asarray(t1w.dataobj), EMPTY))[box], ~brain[box]
    far = edge_distance(empty, zooms) > MISSING_MM
    if not far.any():
        return 0.0
    hole = empty & (edge_distance(~far, zooms) <= MISSING_MM)
    open_hole = ndimage.binary_propagation(hole & ndimage.binary_dilation(outside), mask=hole)
    return float(np.count_nonzero(open_hole) / np.count_nonzero(brain))


def cut_area(mask: nib.Nifti1Image, head: nib.Nifti1Image | None = None) -> float:
    """Area of the brain where the scan ends, cm2: 0 where it holds all of it.

    A few cm2 are a medulla that goes on below; more is brain that was not measured.

    Parameters
    ----------
    mask : Nifti1Image
        Brain mask. It may touch the faces of the field of view.
    head : Nifti1Image, optional
        Scan of a whole head, which may also end within them: a part was set to zero, by defacing for instance.
    """
    inside, zooms = np.asarray(mask.dataobj) > 0, np.asarray(mask.header.get_zooms()[:3], dtype=float)
    faces = (np.count_nonzero(np.take(inside, [0, -1], axis=axis)) * zooms.prod() / zooms[axis] for axis in range(3))
    return float(sum(faces)) / 100 + (0.0 if head is None else _area_on_nothing(head, inside))


def _area_on_nothing(head: nib.Nifti1Image, brain: np.ndarray) -> float:
    """Area, in cm2, where bright voxels in or beside the brain touch empty space.

    Empty space is made of zeros, wide enough for a ball of ``VOID_MM``, and reaches the border of the scan at that
    width. Fluid, bone and scalp keep a whole brain away from it; bone may be zero, but lies within the scalp.
    """
    zooms = np.asarray(head.header.get_zooms()[:3], dtype=float)
    steps = np.maximum(1, np.floor(SAMPLED_MM / zooms + 0.01)).astype(int)
    some = tuple(slice(None, None, int(step)) for step in steps)
    data, brain, zooms = np.asarray(head.dataobj)[some], brain[some], zooms * steps
    zeros = data == 0
    wide = edge_distance(zeros, zooms) > VOID_MM
    rim = np.ones_like(wide)
    rim[1:-1, 1:-1, 1:-1] = False
    outside = ndimage.binary_propagation(wide & rim, mask=wide)
    if not outside.any():
        return 0.0
    void = zeros & (edge_distance(~outside, zooms) <= VOID_MM)
    bright = (data > np.median(data[brain]) / 2) & (edge_distance(~brain, zooms) <= BESIDE_MM)
    area = 0.0
    for axis in range(3):
        tissue, nothing = np.moveaxis(bright, axis, 0), np.moveaxis(void, axis, 0)
        both = np.count_nonzero(tissue[1:] & nothing[:-1]) + np.count_nonzero(tissue[:-1] & nothing[1:])
        area += both * zooms.prod() / zooms[axis]
    return area / 100


def support(t1w: nib.Nifti1Image, brain: np.ndarray | None = None) -> np.ndarray:
    """Brain of a stripped scan: its largest non-background component, holes filled.

    With an outline of the ``brain``, all components of which more than 1 ml lies in it: stripping may part the brain.
    """
    foreground = ~_is_background(np.asarray(t1w.dataobj))
    labels, n = ndimage.label(foreground)
    if n == 0:
        raise ScanError("The scan contains only background.", remedy="Use --skull-strip auto.")
    if brain is None:
        kept = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    else:
        inside = np.bincount(labels[brain], minlength=n + 1) * voxel_volume(t1w)
        kept = (labels > 0) & (inside > PIECE_ML)[labels]
    return ndimage.binary_fill_holes(kept)


def _is_background(data: np.ndarray, faint: float = FAINT) -> np.ndarray:
    """Voxels of (about) the value that fills a stripped or defaced scan: the median on its border."""
    border = np.concatenate([np.take(data, [0, -1], axis=axis).ravel() for axis in range(3)])
    distance = data - np.median(border)
    np.abs(distance, out=distance)
    return distance <= faint * np.percentile(distance, 98)


def _check_volume(mask: np.ndarray, t1w: nib.Nifti1Image, *, skipped: bool = False) -> None:
    volume = np.count_nonzero(mask) * voxel_volume(t1w)
    only_stripped = "--skull-strip skip is only for stripped scans: for a whole head use --skull-strip auto."
    if volume < PLAUSIBLE_ML[0]:
        raise ScanError(
            f"No brain was found: the mask contains only {volume:.0f} ml.",
            remedy=only_stripped
            if skipped
            else "Inspect the image: is it a T1w scan of a whole head? For a stripped scan use --skull-strip skip.",
        )
    if volume > PLAUSIBLE_ML[1]:
        raise ScanError(
            f"The mask is larger than a brain: {volume:.0f} ml.",
            remedy=only_stripped
            if skipped
            else "Inspect the image: is it a T1w scan of one head? Check voxel size and orientation in the header.",
        )


@lru_cache(maxsize=1)
def _network(use_gpu: bool) -> Any:
    from deepbet import BrainExtraction  # imports torch

    return BrainExtraction(no_gpu=not use_gpu)


def _deepbet_mask(t1w: nib.Nifti1Image, n_threads: int, use_gpu: bool) -> np.ndarray:
    """Brain by the network; where much neck is in the field of view it looks a second time, without it.

    The network sees the field of view squeezed into a cube: 200 mm of neck made brains up to 4.5 % larger.
    """
    box = _without_padding(t1w)
    if any(part.stop - part.start < n for part, n in zip(box, t1w.shape, strict=True)):
        mask = np.zeros(t1w.shape, bool)
        mask[box] = _deepbet_mask(t1w.slicer[box], n_threads, use_gpu)
        return mask
    mask = _run_network(t1w, n_threads, use_gpu)
    start = below_the_head(mask, float(t1w.header.get_zooms()[2]))
    if start:
        mask = np.zeros_like(mask)
        mask[..., start:] = _run_network(t1w.slicer[..., start:], n_threads, use_gpu)
    return mask


def _without_padding(t1w: nib.Nifti1Image) -> tuple[slice, ...]:
    """The part of a scan that holds something, along axes that are longer than any head; all of it along the others."""
    data = np.asarray(t1w.dataobj)
    filled = data != np.median([np.median(np.take(data, [0, -1], axis=axis)) for axis in range(3)])
    extent = np.asarray(t1w.header.get_zooms()[:3]) * data.shape
    box = bounding_box(filled) if filled.any() else tuple(slice(0, n) for n in data.shape)
    return tuple(
        slice(part.start, min(part.stop, n)) if long else slice(0, n)
        for part, n, long in zip(box, data.shape, extent > WIDE_MM, strict=True)
    )


def _run_network(t1w: nib.Nifti1Image, n_threads: int, use_gpu: bool) -> np.ndarray:
    """Brain as the network sees it, on the voxels of the scan; fine ones go to it as means of blocks of up to 1 mm."""
    import torch

    zooms = np.asarray(t1w.header.get_zooms()[:3], dtype=float)
    factors = np.maximum(1, np.floor(NETWORK_MM / zooms + 0.01)).astype(int)
    if factors.max() > 1:
        data = block_mean(np.asarray(t1w.dataobj, dtype=np.float32), factors)
        coarse = nib.Nifti1Image(data, coarse_affine(t1w.affine, factors))
        found = _run_network(coarse, n_threads, use_gpu).astype(np.float32)
        return interpolate(found, factors, t1w.shape, order=1) > 0.5
    previous = torch.get_num_threads()
    torch.set_num_threads(max(1, n_threads))
    try:
        _, mask, _ = _network(use_gpu).run(t1w)
    except (AssertionError, ValueError, RuntimeError) as error:
        raise ScanError(
            f"No brain was found ({error}).",
            remedy="Inspect the image: is it a T1w scan of a whole head? For a stripped scan use --skull-strip skip.",
        ) from error
    finally:
        torch.set_num_threads(previous)
    return np.asarray(mask.dataobj) > 0
