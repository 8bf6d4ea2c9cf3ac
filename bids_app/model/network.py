"""The autoencoder: principal components as a linear path, with a convolutional residual that starts at nothing.

    z = W (x - mean) + s * E((x - mean) / c)            encoder
    x = mean + W' z + c * D(z / s)                      decoder

W are the cohort's (mirror-weighted) principal components, s the standard deviations of their scores, c that of the
maps; E and D are four blocks of stride 2 (1-16-32-64-128 channels) and their mirror image around a linear bottleneck.
The last layers of E and D start at zero, so training starts at the linear model and can only leave it where held-out
participants gain from that (compare the zero-initialised residual branches of Zhang, Dauphin & Ma 2019, Fixup).
W stays as fitted: it already is the best linear map of the training cohort.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from bids_app.model.linear import LinearModel

Memory = torch.channels_last_3d


class ConvEncoder(nn.Module):
    """(n, 1, x, y, z) box to (n, K): four blocks of stride 2, then a linear bottleneck that starts at zero."""

    def __init__(self, box_shape: tuple[int, int, int], channels: tuple[int, ...], latent_dim: int):
        super().__init__()
        # The first block folds 2x2x2 neighbours into channels: one-channel convolutions at full size are slow.
        steps = [nn.Conv3d(8, channels[0], 1), nn.GELU()]
        for before, after in itertools.pairwise(channels):
            steps += [nn.Conv3d(before, after, 3, stride=2, padding=1), nn.GELU()]
        self.blocks = nn.Sequential(*steps)
        self.bottleneck = nn.Linear(channels[-1] * _size(box_shape, 16), latent_dim)
        nn.init.zeros_(self.bottleneck.weight)
        nn.init.zeros_(self.bottleneck.bias)

    def forward(self, box: torch.Tensor) -> torch.Tensor:
        return self.bottleneck(self.blocks(fold(box)).flatten(1))


class ConvDecoder(nn.Module):
    """(n, K) to a (n, 1, x, y, z) box: the encoder backwards; the last layer starts at zero."""

    def __init__(self, box_shape: tuple[int, int, int], channels: tuple[int, ...], latent_dim: int):
        super().__init__()
        self.shape = (channels[-1], *(n // 16 for n in box_shape))
        self.bottleneck = nn.Linear(latent_dim, channels[-1] * _size(box_shape, 16))
        steps = []
        for before, after in zip(channels[::-1], channels[-2::-1], strict=False):
            steps += [nn.GELU(), nn.ConvTranspose3d(before, after, 4, stride=2, padding=1)]
        last = nn.Conv3d(channels[0], 8, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.blocks = nn.Sequential(*steps, nn.GELU(), last)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        start = self.bottleneck(latents).unflatten(1, self.shape).contiguous(memory_format=Memory)
        return unfold(self.blocks(start))


class ResidualAutoencoder(nn.Module):
    """The whole network, on maps as (n, V) vectors of mask voxels.

    Parameters
    ----------
    linear : LinearModel
        The linear path; its mean map, scores' scale and grid are the network's.
    channels : tuple of int
        Channels after each of the four blocks.
    data_scale : float
        Standard deviation of the maps about their mean, over voxels and scans.
    """

    def __init__(self, linear: LinearModel, channels: tuple[int, ...], data_scale: float):
        super().__init__()
        grid, k = linear.grid, linear.latent_dim
        self.box_shape = grid.box_shape
        # Not persistent: they come from the maps (or the model file), and checkpoints stay small.
        for name, value in {
            "mean": torch.from_numpy(linear.mean),
            "components": torch.from_numpy(linear.components),
            "scale": torch.from_numpy(linear.scale).clamp_min(1e-6),
            "data_scale": torch.tensor(float(data_scale)),
            "box_index": torch.from_numpy(grid.box_index),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.encoder = ConvEncoder(self.box_shape, channels, k)
        self.decoder = ConvDecoder(self.box_shape, channels, k)
        self.to(memory_format=Memory)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (n, K) of maps (n, V)."""
        centred = x - self.mean
        box = centred.new_zeros(len(x), _size(self.box_shape))
        box[:, self.box_index] = centred / self.data_scale
        return centred @ self.components.T + self.scale * self.encoder(box.unflatten(1, (1, *self.box_shape)))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Maps (n, V) of latents (n, K)."""
        residual = self.decoder(z / self.scale).flatten(1)[:, self.box_index]
        return self.mean + z @ self.components + self.data_scale * residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x))


def fold(box: torch.Tensor) -> torch.Tensor:
    """Neighbours of each 2x2x2 cube become 8 channels: (n, 1, x, y, z) to (n, 8, x/2, y/2, z/2), channels last."""
    n, _, x, y, z = box.shape
    cubes = box.reshape(n, x // 2, 2, y // 2, 2, z // 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return cubes.reshape(n, x // 2, y // 2, z // 2, 8).permute(0, 4, 1, 2, 3)


def unfold(channels: torch.Tensor) -> torch.Tensor:
    """The inverse of ``fold``."""
    n, _, x, y, z = channels.shape
    cubes = channels.permute(0, 2, 3, 4, 1).reshape(n, x, y, z, 2, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)
    return cubes.reshape(n, 1, 2 * x, 2 * y, 2 * z)


def _size(shape: tuple[int, ...], divide: int = 1) -> int:
    return int(torch.tensor([n // divide for n in shape]).prod())
