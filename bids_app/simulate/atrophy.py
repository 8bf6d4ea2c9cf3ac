"""Atrophy planted in named regions: their grey matter contracts by a given share, and nearby CSF takes the room.

The flow of a velocity field with a prescribed divergence does the contraction, so it is invertible and its Jacobian
determinant is what voxel-based morphometry multiplies grey matter with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..errors import UsageError
from .anatomy import Anatomy, tissue_shares, to_coarse
from .fields import field_jacobian, integrate, velocity_of_divergence

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
TOLERANCE = 0.1  # of the planted change, on the average person


Density = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class AtrophyPlan:
    """Where atrophy is planted, on the 2 mm grid.

    Attributes
    ----------
    names : list of R str
    index : ndarray, (R,)
    sources : ndarray, (R, X, Y, Z), float32
        Divergence that shrinks each region (+1 in its grey matter) and expands CSF near it by as much volume.
    voxels : ndarray, (M,)
        Flat indices of the voxels of all planted regions.
    member : ndarray, (M,)
        The region (0 to R-1) of each of them.
    gain : ndarray, (R,)
        Calibrated on the average person: source strength = gain * log(1 + relative change), for the flow.
    map_gain : ndarray, (R,)
        The same when the source is used as the log-Jacobian itself, without integrating a flow.
    """

    names: list[str]
    index: np.ndarray
    sources: np.ndarray
    voxels: np.ndarray
    member: np.ndarray
    gain: np.ndarray
    map_gain: np.ndarray


def plan_atrophy(anatomy: Anatomy, weights: dict[str, float], effect: float, flow: bool = True) -> AtrophyPlan:
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
        A region that the atlas does not have, or more atrophy than there is room for.
    """
    known = dict(zip(anatomy.table["name"], anatomy.table["index"], strict=True))
    unknown = [name for name in weights if name not in known]
    if unknown:
        raise UsageError(
            f"The atlas has no region called {', '.join(unknown)}.",
            remedy="Use AAL2 names with the side: " + ", ".join(sorted(known)[:8]) + ", ...",
        )
    index = np.array([known[name] for name in weights], int)
    gm, _, csf = (to_coarse(anatomy, t) for t in tissue_shares(anatomy))
    sources = np.stack([_source(anatomy.labels == i, gm, csf) for i in index])
    voxels = np.flatnonzero(np.isin(anatomy.labels, index))
    member = np.argsort(index)[np.searchsorted(np.sort(index), anatomy.labels.ravel()[voxels])]
    ones = np.ones(len(index))
    plan = AtrophyPlan(list(weights), index, sources, voxels, member, ones, ones)

    target = np.log1p(-(effect or 0.25) * np.array(list(weights.values())))
    plan = replace(plan, map_gain=_first_order_gain(plan, gm, target, 8))
    if flow:

        def by_flow(strength: np.ndarray) -> np.ndarray:
            return field_jacobian(deform(plan, strength)[0])

        plan = replace(plan, gain=_calibrate(plan, gm, target, by_flow, 4, plan.map_gain))
    density = by_flow if flow else _first_order_density(plan)
    reached = _log_change(plan, gm, density((plan.gain if flow else plan.map_gain) * target)) / target
    if np.abs(reached - 1).max() > TOLERANCE:
        worst = plan.names[int(np.abs(reached - 1).argmax())]
        raise UsageError(
            f"So much atrophy cannot be planted in these {len(index)} regions together: there is too little "
            f"cerebrospinal fluid near {worst} to fill the space.",
            remedy="Choose fewer regions, or a smaller --effect.",
        )
    return plan


def deform(plan: AtrophyPlan, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacements of the atrophy, template to atrophied and back, in 2 mm voxels.

    Parameters
    ----------
    plan : AtrophyPlan
    strength : ndarray, (R,)
        Source strengths, ``gain * log(1 + change)``.

    Returns
    -------
    forward, backward : ndarrays, (3, X, Y, Z)
    """
    velocity = velocity_of_divergence(np.tensordot(np.asarray(strength, np.float32), plan.sources, 1))
    return integrate(velocity), integrate(-velocity)


def individual_gain(plan: AtrophyPlan, gm: np.ndarray, change: np.ndarray, flow: bool = True) -> np.ndarray:
    """The calibrated gain, corrected to first order for one person's own grey matter.

    Parameters
    ----------
    plan : AtrophyPlan
    gm : ndarray, (X, Y, Z)
        The person's grey matter on the 2 mm grid.
    change : ndarray, (R,)
        Planted relative change of each region.
    flow : bool
        For the flow, or for the sources as the log-Jacobian itself.

    Returns
    -------
    ndarray, (R,)
    """
    if not np.any(change):
        return plan.gain
    own = _first_order_gain(plan, gm, np.log1p(np.minimum(change, -1e-4)), 4, plan.map_gain)
    return plan.gain * own / plan.map_gain if flow else own


def regional_sums(labels: np.ndarray, volume: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sum of a volume over each labelled region, in the order of ``index``; float64."""
    sums = np.bincount(labels.ravel(), weights=volume.ravel(), minlength=int(index.max()) + 1)
    return sums[index]


def _source(region: np.ndarray, gm: np.ndarray, csf: np.ndarray) -> np.ndarray:
    shrink = ndimage.gaussian_filter(region.astype(np.float32), SOURCE_SIGMA_MM / 2) * gm
    grow = csf * ndimage.gaussian_filter(shrink, REACH_MM / 2)
    return (shrink - grow * (shrink.sum() / grow.sum())).astype(np.float32)


def _first_order_density(plan: AtrophyPlan) -> Density:
    inside = plan.sources.reshape(len(plan.index), -1)[:, plan.voxels]
    return lambda strength: np.exp(strength.astype(np.float32) @ inside)


def _first_order_gain(
    plan: AtrophyPlan, gm: np.ndarray, target: np.ndarray, rounds: int, start: np.ndarray | None = None
) -> np.ndarray:
    return _calibrate(plan, gm, target, _first_order_density(plan), rounds, start)


def _calibrate(
    plan: AtrophyPlan,
    gm: np.ndarray,
    target: np.ndarray,
    density: Density,
    rounds: int,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Gains with which regions change by ``target`` (log): fixed-point iteration on volume ratios.

    ``density`` maps source strengths to a Jacobian determinant, of the whole grid or of ``plan.voxels``.
    """
    gain = np.ones(len(target)) if start is None else start.copy()
    for _ in range(rounds):
        gain *= np.clip(target / _log_change(plan, gm, density(gain * target)), 0.5, 2)
    return gain


def _log_change(plan: AtrophyPlan, gm: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Logarithm of the ratio in which each planted region's grey matter changes, (R,)."""
    weights, density = gm.ravel()[plan.voxels], density.ravel()
    if density.size != weights.size:
        density = density[plan.voxels]
    return np.log(np.bincount(plan.member, weights * density) / np.bincount(plan.member, weights))
