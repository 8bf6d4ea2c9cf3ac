"""Small cohorts whose structure is known."""

import nibabel as nib
import numpy as np
import pytest
import torch
from small_volumes import as_volumes, ball

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def linear_cohort():
    """30 maps that vary along smooth, nearly symmetric patterns, with noise."""
    grid, points = ball()
    rng = np.random.default_rng(1)
    centres = rng.uniform(-6, 6, (12, 3))
    patterns = [
        np.exp(-((points - c) ** 2).sum(1) / 30) + 0.7 * np.exp(-((points - c * [-1, 1, 1]) ** 2).sum(1) / 30)
        for c in centres
    ]
    scores = rng.standard_normal((30, 12)) * np.linspace(1, 0.3, 12)
    maps = 0.5 + 0.1 * scores @ np.array(patterns) + 0.05 * rng.standard_normal((30, len(points)))
    return as_volumes(grid, maps)


@pytest.fixture(scope="session")
def curved_cohort():
    """110 maps with a bump somewhere on a circle: one dimension, but curved, so that no plane holds it."""
    grid, points = ball()
    rng = np.random.default_rng(2)
    angle = rng.uniform(-np.pi, np.pi, 110)
    centres = 5 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    bumps = np.exp(-((points[None] - centres[:, None]) ** 2).sum(-1) / (2 * 2.5**2))
    return as_volumes(grid, 0.4 + 0.5 * bumps + 0.05 * rng.standard_normal(bumps.shape))


@pytest.fixture
def write_map(tmp_path):
    """Write an array as a map, 4 mm unless said."""

    def write(name, data, affine=None, dtype=np.float32):
        affine = np.diag([4.0, 4, 4, 1]) if affine is None else affine
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(np.asarray(data, dtype), affine), path)
        return path

    return write
