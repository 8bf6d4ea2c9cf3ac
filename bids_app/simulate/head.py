"""One person's head: tissue, individual shape, atrophy, and the volumes that result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from .anatomy import Anatomy, tissue_shares, to_coarse
from .atrophy import VOXEL_ML, AtrophyPlan, deform, individual_gain, regional_sums
from .cohort import Person, stream
from .fields import field_jacobian, grid, integrate, random_velocity, sample

SHAPE_MM = 4.0  # grid of the individual shape
SHAPE_BOX = ((-110.0, -146.0, -122.0), (56, 65, 62))  # its first voxel (template mm) and its size: a whole head
SHAPE_COMPONENTS = ((35.0, 2.0), (18.0, 1.0), (8.0, 0.4))  # (width, sd) in mm: head, lobes, gyri


@dataclass(frozen=True)
class Head:
    """One person's head at one session.

    Attributes
    ----------
    tissue : ndarray, (3, X, Y, Z)
        GM, WM, CSF fractions in template space, on the anatomy's tissue grid.
    atrophy_back : ndarray, (3, x, y, z)
        Atrophied to template, displacement in voxels of the 2 mm grid.
    shape_back : ndarray, (3, x, y, z)
        Individual to template shape, displacement in voxels of the 4 mm grid.
    scale : float
        Linear size relative to the template.
    truth : dict
        ``index``, ``before`` and ``after`` (ml of grey matter of every atlas region without and with the planted
        atrophy), ``tissue_ml`` (GM, WM, CSF), ``jacobian`` (least, greatest; size left out).
    """

    tissue: np.ndarray
    atrophy_back: np.ndarray
    shape_back: np.ndarray
    scale: float
    truth: dict[str, Any]


def make_head(
    anatomy: Anatomy, plan: AtrophyPlan, person: Person, change: np.ndarray, gm_loss: float, seed: int
) -> Head:
    """Shape one person's head.

    Parameters
    ----------
    anatomy, plan
        From :mod:`.anatomy` and :mod:`.atrophy`.
    person : Person
    change : ndarray, (R,)
        Planted relative change of the grey matter of the plan's regions.
    gm_loss : float
        Percent of all grey matter that age has taken.
    seed : int

    Raises
    ------
    UsageError
        The deformation is not invertible: its Jacobian determinant is not positive everywhere.
    """
    tissue = tissue_shares(anatomy, stream(seed, person.number, "folding"), gm_loss)
    coarse = np.stack([to_coarse(anatomy, t) for t in tissue])
    velocity = random_velocity(SHAPE_BOX[1], SHAPE_MM, SHAPE_COMPONENTS, stream(seed, person.number, "shape"))
    shape_jacobian = field_jacobian(integrate(velocity))

    strength = individual_gain(plan, coarse[0], change) * np.log1p(change)
    forward, backward = deform(plan, strength)
    here = grid(anatomy.labels.shape)
    individual = sample(shape_jacobian[None], to_shape_voxels(here * 2 + _origin(anatomy.labels_affine)))[0]
    moved = (here + forward) * 2 + _origin(anatomy.labels_affine)
    atrophied = sample(shape_jacobian[None], to_shape_voxels(moved))[0]
    atrophied *= field_jacobian(forward)

    if min(shape_jacobian.min(), atrophied.min()) <= 0:
        raise UsageError(
            f"So much atrophy would fold the head of participant {person.label}.", remedy="Choose a smaller --effect."
        )
    mask_ml = float((coarse.sum(0) * atrophied).sum()) * VOXEL_ML
    volume_scale = person.tiv / mask_ml
    index = anatomy.table["index"].to_numpy()
    voxel = VOXEL_ML * volume_scale
    truth = {
        "index": index,
        "before": regional_sums(anatomy.labels, coarse[0] * individual, index) * voxel,
        "after": regional_sums(anatomy.labels, coarse[0] * atrophied, index) * voxel,
        "tissue_ml": (coarse * atrophied).sum((1, 2, 3), dtype=np.float64) * voxel,
        "jacobian": (
            float(min(shape_jacobian.min(), atrophied.min())),
            float(max(shape_jacobian.max(), atrophied.max())),
        ),
    }
    return Head(tissue, backward, integrate(-velocity), volume_scale ** (1 / 3), truth)


def to_template(head: Head, anatomy: Anatomy, points: np.ndarray) -> np.ndarray:
    """Carry points of a head (mm, its size already normalised) to where their tissue lies in the template (mm).

    Parameters
    ----------
    points : ndarray, (3, ...), float32
    """
    points = points + sample(head.shape_back, to_shape_voxels(points)) * np.float32(SHAPE_MM)
    origin = _origin(anatomy.labels_affine, points.ndim)
    return points + sample(head.atrophy_back, (points - origin) / 2) * np.float32(2)


def to_shape_voxels(points: np.ndarray) -> np.ndarray:
    """Template mm to voxels of the grid of individual shape."""
    first = np.asarray(SHAPE_BOX[0], np.float32).reshape(3, *([1] * (points.ndim - 1)))
    return (points - first) / np.float32(SHAPE_MM)


def _origin(affine: np.ndarray, ndim: int = 4) -> np.ndarray:
    return affine[:3, 3].astype(np.float32).reshape(3, *([1] * (ndim - 1)))
