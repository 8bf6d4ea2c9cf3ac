"""Phantoms with known tissue fractions."""

from itertools import pairwise
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

MEANS = np.array([0.35, 0.70, 1.0])  # CSF, GM, WM


def shells(radii, shape, zoom, fine=3):
    """Volume fractions of nested balls (innermost first; the last one is what lies outside), by supersampling."""
    axes = [(np.arange(n * fine) + 0.5) / fine * zoom - n * zoom / 2 for n in shape]
    # A wavy surface, so that partial volume takes every direction and share.
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    wave = 2.5 * np.sin(x / 6) * np.cos(y / 7) * np.sin(z / 5 + 1)
    r = np.sqrt(x**2 + y**2 + z**2) + wave
    edges = [-np.inf, *radii, np.inf]
    parts = []
    for low, high in pairwise(edges):
        part = ((r > low) & (r <= high)).astype(np.float32)
        parts.append(part.reshape([k for n in shape for k in (n, fine)]).mean(axis=(1, 3, 5)))
    return parts


@pytest.fixture(scope="session")
def phantom():
    """A head of three nested tissues, 2 mm: fractions (CSF, GM, WM), noisy scan, mask and blurred priors."""
    from scipy import ndimage

    shape, zoom = (60, 60, 60), 2.0
    wm, gm, csf, air = shells([30, 38, 46], shape, zoom)
    fractions = np.stack([csf, gm, wm])
    inside = air < 0.5
    affine = np.diag([zoom, zoom, zoom, 1.0])
    affine[:3, 3] = -59
    rng = np.random.default_rng(3)
    clean = np.tensordot(MEANS, fractions, 1) * 500
    noisy = (clean + rng.normal(0, 15, shape)) * inside
    priors = np.stack([ndimage.gaussian_filter(f, 1.5) for f in fractions])
    priors = np.where(inside, priors / np.maximum(priors.sum(0), 1e-6), 0).astype(np.float32)

    def image(data, dtype=np.float32):
        return nib.Nifti1Image(np.asarray(data, dtype=dtype), affine)

    return SimpleNamespace(
        fractions=fractions,
        means=MEANS,
        shells=shells,
        inside=inside,
        clean=clean,
        scan=image(noisy),
        mask=image(inside, np.uint8),
        priors=[image(p) for p in priors],
        affine=affine,
        zoom=zoom,
        image=image,
    )


@pytest.fixture(scope="session", params=["young", "old"])
def head(request):
    """A head with dura, skull and scalp, 2 mm: a thin layer of fluid over the cortex, or a wide one and wide sulci."""
    shape, zoom = (72, 72, 72), 2.0
    edge = {"young": 45, "old": 50}[request.param]
    wm, gm, csf, dura, bone, scalp, air = shells([34, 42, edge, edge + 2, edge + 9, edge + 15], shape, zoom)
    if request.param == "old":  # sulci: fluid in between grey matter
        x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij", sparse=True)
        sulcus = np.clip(3 * np.sin(x * 0.8) * np.cos(y * 0.7) * np.sin(z * 0.9 + 1) - 0.5, 0, 1)
        csf, gm = csf + gm * sulcus, gm * (1 - sulcus)
    fractions = np.stack([csf, gm, wm])
    clean = np.tensordot([0.25, 0.70, 1.0, 0.60, 0.05, 0.95], [csf, gm, wm, dura, bone, scalp], 1) * 500
    noisy = clean + np.random.default_rng(5).normal(0, 10, shape)
    return SimpleNamespace(
        age=request.param,
        fractions=fractions.astype(np.float32),
        data=noisy.astype(np.float32),
        inside=fractions.sum(0) > 0.7,
        zooms=np.full(3, zoom),
        air=air > 0.99,
    )
