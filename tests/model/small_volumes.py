"""A ball for a brain, and maps of it as the model takes them."""

import numpy as np

from bids_app.model.grid import Grid, Sampling
from bids_app.model.volumes import Volumes


def ball(size=20, step=4.0):
    """A grid centred on the origin with a ball for a brain."""
    centre = (size - 1) / 2
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -step * centre
    points = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1).astype(float) - centre
    mask = (points**2).sum(-1) < (size / 2 - 1) ** 2
    return Grid(Sampling((size,) * 3, affine, 0.0, step), mask), points[mask]


def as_volumes(grid, maps):
    return Volumes(np.asarray(maps, np.float16), grid, [f"map-{i}" for i in range(len(maps))], [])
