"""Atrophy planted in named regions: their grey matter contracts by a given share, and nearby CSF takes the room.

The flow of a velocity field with a prescribed divergence does the contraction, so it is invertible and its Jacobian
determinant is what voxel-based morphometry multiplies grey matter with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import UsageError
from .anatomy import Anatomy, tissues, to_coarse
from .fields import integrate, jacobian, velocity_of_divergence

# Region -> share of the largest loss. Medial temporal lobe first, then the precuneus, as in Alzheimer's disease.
DEFAULT_REGIONS = {
    "Hippocampus_L": 1.0,
    "Hippocampus_R": 1.0,
    "Amygdala_L": 1.0,
    "Amygdala_R": 1.0,
    "ParaHippocampal_L": 0.8,
    "ParaHippocampal_R": 0.8,
    "Precuneus_L": 0.6,
    "Precuneus_R": 0.6,
}
SOURCE_SIGMA_MM = 1.2  # softens the edge of a region
REACH_MM = 12.0  # how far the CSF that expands may be
VOXEL_ML = 0.008


@dataclass(frozen=True)
class Plan:
    """Where atrophy is planted, on the 2 mm grid.

    Attributes
    ----------
    names : list of R str
    index : ndarray, (R,)
    sources : ndarray, (R, X, Y, Z), float32
        Divergence that shrinks each region (+1 in its grey matter) and expands CSF near it by as much volume.
    gain : ndarray, (R,)
        Calibrated: source strength = gain * log(1 + relative change).
    map_gain : ndarray, (R,)
        The same when the source is used as the log-Jacobian itself, without integrating a flow.
    """

    names: list[str]
    index: np.ndarray
    sources: np.ndarray
    gain: np.ndarray
    map_gain: np.ndarray


def make_plan(anatomy: Anatomy, weights: dict[str, float], effect: float, flow: bool = True) -> Plan:
    """Lay out the sources of atrophy and calibrate them on the average person.

    Parameters
    ----------
    anatomy : Anatomy
    weights : dict
        Region name -> its share of ``effect``.
    effect : float
        Largest planted loss, at which the calibration is done (0.25 when no effect is planted).
    flow : bool
        Calibrate the flow (for scans) or only the log-Jacobian (for maps; faster).

    Raises
    ------
    UsageError
        A region that the atlas does not have.
    """
    known = dict(zip(anatomy.table["name"], anatomy.table["index"], strict=True))
    unknown = [name for name in weights if name not in known]
    if unknown:
        raise UsageError(
            f"The atlas has no region called {', '.join(unknown)}.",
            remedy="Names are those of AAL2, with their side: " + ", ".join(sorted(known)[:8]) + ", ...",
        )
    names = list(weights)
    index = np.array([known[name] for name in names], int)
    gm, _, csf = (to_coarse(anatomy, t) for t in tissues(anatomy, None))
    sources = np.stack([_source(anatomy.labels == i, gm, csf) for i in index]) if names else np.zeros((0, *gm.shape))
    target = np.log1p(-(effect or 0.25) * np.array([weights[name] for name in names]))
    bare = Plan(names, index, sources.astype(np.float32), np.ones(len(names)), np.ones(len(names)))
    map_gain = _calibrate(bare, anatomy.labels, gm, target, lambda s: np.exp(np.tensordot(s, bare.sources, 1)), 8)
    gain = map_gain
    if flow:
        gain = _calibrate(bare, anatomy.labels, gm, target, lambda s: jacobian(deform(bare, s)[0]), 4, map_gain)
    return Plan(names, index, bare.sources, gain, map_gain)


def deform(plan: Plan, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacements of the atrophy, template to atrophied and back, in 2 mm voxels.

    Parameters
    ----------
    plan : Plan
    strength : ndarray, (R,)
        Source strengths, ``plan.gain * log(1 + change)``.

    Returns
    -------
    forward, backward : ndarrays, (3, X, Y, Z)
    """
    source = np.tensordot(np.asarray(strength, np.float32), plan.sources, 1)
    velocity = velocity_of_divergence(source)
    return integrate(velocity), integrate(-velocity)


def regional_sums(labels: np.ndarray, volume: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sum of a volume over each labelled region, in the order of ``index``; float64."""
    sums = np.bincount(labels.ravel(), weights=volume.ravel().astype(np.float64), minlength=int(index.max(initial=0)) + 1)
    return sums[index]


def _source(region: np.ndarray, gm: np.ndarray, csf: np.ndarray) -> np.ndarray:
    shrink = ndimage.gaussian_filter(region.astype(np.float32), SOURCE_SIGMA_MM / 2) * gm
    near = ndimage.gaussian_filter(shrink, REACH_MM / 2)
    grow = csf * near
    return shrink - grow * (shrink.sum() / grow.sum())


def _calibrate(plan, labels, gm, target, density, rounds, start=None) -> np.ndarray:
    """Find gains so that the average person's regions change by ``target`` (log): a fixed-point iteration."""
    gain = np.ones(len(plan.names)) if start is None else start.copy()
    before = regional_sums(labels, gm, plan.index)
    for _ in range(rounds if len(plan.names) else 0):
        after = regional_sums(labels, gm * density((gain * target).astype(np.float32)), plan.index)
        gain *= np.clip(target / np.log(after / before), 0.5, 2)
    return gain
