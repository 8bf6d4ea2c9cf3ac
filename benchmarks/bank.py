"""A bank of simulated maps, made once, from which cohorts are drawn, and the linear path learnt from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_app.simulate.atrophy import DEFAULT_REGIONS

SIGMA = 8 / 2.3548 / 4  # voxels
VOXEL_ML = 0.064
PATTERNS = ("scattered", "medial temporal", "widespread")


def make_bank(path: Path, n: int, seed: int) -> None:
    """Simulate maps without a group effect and write them with their labels and covariates."""
    from bids_app.simulate.anatomy import load_anatomy
    from bids_app.simulate.map_dataset import simulate_gm_maps

    made = simulate_gm_maps(n, resolution=4.0, effect=0.0, seed=seed)
    anatomy, table = load_anatomy(step=2), made.table
    np.savez(
        path,
        maps=made.maps.astype(np.float16),
        labels=anatomy.labels[::2, ::2, ::2],
        index=anatomy.table["index"].to_numpy(),
        names=anatomy.table["name"].to_numpy().astype(str),
        age=table["age"],
        tiv=table["tiv"],
        sex=(table["sex"] == "M").astype(float),
    )


def read_bank(path: Path) -> dict[str, np.ndarray]:
    """The bank, with ``member`` (V,): the region (0 to R - 1, -1 none) of every voxel of the mask."""
    bank = dict(np.load(path))
    inside = (bank["labels"] > 0) | (bank["maps"].mean(axis=0, dtype=np.float32) > 0.05)
    place = {int(label): r for r, label in enumerate(bank["index"])}
    bank["mask"], bank["member"] = inside, np.array([place.get(int(v), -1) for v in bank["labels"][inside]])
    return bank


def pick(rng, bank: dict, pattern: str, loss: float) -> np.ndarray:
    """Planted loss (R,) as a share."""
    r = len(bank["index"])
    planted = np.zeros(r)
    if pattern == "medial temporal":
        return loss * np.array([DEFAULT_REGIONS.get(name, 0.0) for name in bank["names"]])
    count, share = (8, loss) if pattern == "scattered" else (40, loss / 3)
    planted[rng.choice(r, count, replace=False)] = share
    return planted


def deviations(bank: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the coordinates of the planner's bank span.

    Parameters
    ----------
    bank : dict
        Of `read_bank`: N maps of V voxels, R regions.

    Returns
    -------
    centre : (V,) array
        Mean smoothed map, ml of grey matter per ml, as the deviations are.
    everything : (N + 4, V) array
        Deviations of the maps from it, the loss of each of ``PATTERNS`` that lowers its regions by a standard
        deviation, and the map of standard deviations.
    planted : (3, R) bool array
    """
    rng = np.random.default_rng(1)
    smoothed = np.stack([smooth(one, bank["mask"]) for one in bank["maps"]]).astype(float)
    mean_map, centre = bank["maps"].mean(axis=0, dtype=np.float64), smoothed.mean(axis=0)
    deviation = smoothed - centre
    design = np.column_stack([np.ones(len(smoothed)), bank["age"], bank["sex"], bank["tiv"]])
    left = deviation - design @ np.linalg.lstsq(design, deviation, rcond=None)[0]
    spread = region_sums(left, bank).std(axis=0)
    patterns, planted = [], []
    for name in PATTERNS:
        share = pick(rng, bank, name, 1.0)
        whole = np.zeros(bank["labels"].shape)
        whole[bank["mask"]] = np.append(share, 0.0)[bank["member"]]
        loss = smooth(mean_map * whole, bank["mask"]).astype(float)
        inside = share > 0
        patterns.append(loss / (region_sums(loss[None], bank)[0] / spread)[inside].mean())
        planted.append(inside)
    return centre, np.vstack([deviation, patterns, left.std(axis=0)]), np.array(planted)


def maps_of(rng, bank: dict, rows: np.ndarray, y: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Smoothed maps (n, V) with the losses planted into those of y = 1."""
    whole = np.append(planted, 0.0)[np.where(bank["labels"] > 0, 0, -1)]
    whole[bank["mask"]] = np.append(planted, 0.0)[bank["member"]]
    out = np.empty((len(rows), len(bank["member"])), np.float32)
    for i, row in enumerate(rows):
        one = bank["maps"][row].astype(np.float32)
        if y[i]:
            one *= 1 - np.float32(np.clip(rng.normal(1, 0.25), 0.2, 1.8)) * whole.astype(np.float32)
        out[i] = smooth(one, bank["mask"])
    return out


def smooth(one: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A map (x, y, z) smoothed by 8 mm, as a vector (V,)."""
    return ndimage.gaussian_filter(np.asarray(one, np.float32), SIGMA, mode="constant")[mask]


def learn(gram: np.ndarray, regions: np.ndarray, train: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, k) of everybody and reconstructed regions (n, R), components learnt from the training rows.

    All of it from inner products: regional sums are linear, those of components are sums of those of maps.
    """
    centre = np.eye(len(gram))
    centre[:, train] -= 1 / len(train)
    centred = centre @ gram @ centre.T
    values, vectors = np.linalg.eigh(centred[np.ix_(train, train)])
    keep = slice(max(0, len(train) - min(k, len(train) - 1)), None)
    values, vectors = values[keep], vectors[:, keep]
    latents = centred[:, train] @ (vectors / np.sqrt(values))
    mean = regions[train].mean(axis=0)
    components = (vectors / np.sqrt(values)).T @ (regions[train] - mean)
    return latents, mean + latents @ components


def region_sums(maps: np.ndarray, bank: dict) -> np.ndarray:
    """Regional grey matter (n, R) of maps (n, V), ml."""
    inside = bank["member"] >= 0
    order = np.argsort(bank["member"][inside], kind="stable")
    starts = np.searchsorted(bank["member"][inside][order], np.arange(len(bank["index"])))
    return VOXEL_ML * np.add.reduceat(maps[:, inside][:, order], starts, axis=1, dtype=np.float64)
