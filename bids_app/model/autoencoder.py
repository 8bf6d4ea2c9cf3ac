"""A trained network as the rest of the app uses it: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bids_app.model.grid import Grid, Image
from bids_app.model.linear_model import LinearModel
from bids_app.model.network import MapNetwork
from bids_app.model.volumes import Volumes

BATCH = 16


class Autoencoder:
    """A network of any architecture, with the interface of ``LinearModel``.

    Parameters
    ----------
    linear : LinearModel
        Fitted to the same maps: the network's linear path where it has one, and what it is compared with.
    network : MapNetwork
    channels : tuple of int
    """

    def __init__(self, linear: LinearModel, network: MapNetwork, channels: tuple[int, ...]):
        self.linear, self.network, self.channels = linear, network.eval(), tuple(channels)
        self.card: dict[str, Any] = {}

    @property
    def kind(self) -> str:
        """What the card calls it."""
        return self.network.architecture.kind

    @property
    def description(self) -> str:
        """What it is, for the card."""
        return self.network.architecture.description

    @property
    def grid(self) -> Grid:
        """Where the V voxels lie."""
        return self.linear.grid

    @property
    def mask(self) -> np.ndarray:
        """Brain mask on the model grid, bool."""
        return self.linear.grid.mask

    @property
    def mean(self) -> np.ndarray:
        """Mean map of the training cohort, (V,)."""
        return self.linear.mean

    @property
    def latent_dim(self) -> int:
        """Number of latents, K."""
        return self.linear.latent_dim

    def encode(self, X: np.ndarray) -> np.ndarray:
        """Latents (n, K) of maps (n, V)."""
        return self._apply(self.network.encode, X)

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Maps (n, V) of latents (n, K)."""
        return self._apply(self.network.decode, Z)

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Maps (n, V) as the model sees them."""
        return self._apply(self.network, X)

    @torch.inference_mode()
    def _apply(self, function: Callable[[torch.Tensor], torch.Tensor], values: np.ndarray) -> np.ndarray:
        values = np.ascontiguousarray(values, np.float32)
        device = self.network.mean.device
        parts = [torch.from_numpy(values[i : i + BATCH]).to(device) for i in range(0, len(values), BATCH)]
        return torch.cat([function(part).cpu() for part in parts]).numpy()


Model = Autoencoder | LinearModel


def linear_of(model: Model) -> LinearModel:
    """The linear model of the same training maps, which a network has to beat; a linear model itself."""
    return model.linear if isinstance(model, Autoencoder) else model


def encode_all(model: Model, volumes: Volumes, index: np.ndarray) -> np.ndarray:
    """Latents (n, K) of the rows ``index``, streamed."""
    return np.concatenate([model.encode(rows) for _, rows in volumes.batches(index)])


def reconstruction_error(model: Model, volumes: Volumes, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How well a model sees maps, streamed.

    Parameters
    ----------
    model : Autoencoder or LinearModel
    volumes : Volumes
    index : (n,) int array

    Returns
    -------
    error : (n,) float64 array
        Mean squared error in the brain mask.
    explained : (n,) float64 array
        1 - error / (mean squared distance to the model's training mean map).
    """
    error, spread = np.zeros((2, len(index)))
    for places, rows in volumes.batches(index):
        error[places] = ((model.reconstruct(rows) - rows) ** 2).mean(1, dtype=np.float64)
        spread[places] = ((rows - model.mean) ** 2).mean(1, dtype=np.float64)
    return error, 1 - error / np.maximum(spread, 1e-12)


def traverse(model: Model, latent: int, values: tuple[float, ...] = (-2, -1, 1, 2)) -> Image:
    """What one latent does: decoded maps with every other latent at its training mean.

    Parameters
    ----------
    model : Autoencoder or LinearModel
    latent : int
        Column of Z, from 0.
    values : tuple of float
        Where to put the latent, in standard deviations of the training cohort's (from the card of a loaded model;
        otherwise those of the linear path).

    Returns
    -------
    Nifti1Image
        4D, one difference from the decoded centre per value, on the model grid.
    """
    training = model.card.get("training", {})
    centre = np.asarray(training.get("latent_mean", np.zeros(model.latent_dim)), np.float32)
    spread = np.asarray(training.get("latent_sd", linear_of(model).scale), np.float32)
    Z = np.tile(centre, (len(values) + 1, 1)).astype(np.float32)
    Z[1:, latent] += np.asarray(values, np.float32) * spread[latent]
    maps = model.decode(Z)
    return model.grid.to_image(maps[1:] - maps[0])
