"""What networks are made of: convolutions around a bottleneck, and the way between maps and the box they work in."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from bids_app.model.linear_model import LinearModel
from bids_app.schema.architectures import Architecture

activation = partial(nn.LeakyReLU, 0.1, inplace=True)


class ConvEncoder(nn.Module):
    """(n, P, 8) folded box to (n, K): four blocks of stride 2, then a linear bottleneck that starts at zero.

    The first block is the folding itself (2x2x2 neighbours become 8 channels) and a 1x1x1 convolution, which is a
    linear layer on the channels: one-channel convolutions at full size are slow.
    """

    def __init__(self, box_shape: tuple[int, int, int], channels: tuple[int, ...], latent_dim: int):
        super().__init__()
        self.shape = tuple(n // 2 for n in box_shape)
        self.first = nn.Sequential(nn.Linear(8, channels[0]), activation())
        steps = []
        for before, after in itertools.pairwise(channels):
            steps += [nn.Conv3d(before, after, 3, stride=2, padding=1), activation()]
        self.blocks = nn.Sequential(*steps)
        self.bottleneck = nn.Linear(channels[-1] * math.prod(box_shape) // 16**3, latent_dim)
        nn.init.zeros_(self.bottleneck.weight)
        nn.init.zeros_(self.bottleneck.bias)

    def forward(self, folded: torch.Tensor) -> torch.Tensor:
        # Channels come last in memory, which is the convolutions' fast layout: nothing is copied.
        x = self.first(folded.flatten(0, 1)).view(len(folded), *self.shape, -1).permute(0, 4, 1, 2, 3)
        return self.bottleneck(self.blocks(x).flatten(1))


class ConvDecoder(nn.Module):
    """(n, K) to a (n, P, 8) folded box: the encoder backwards; the last layer starts at zero."""

    def __init__(self, box_shape: tuple[int, int, int], channels: tuple[int, ...], latent_dim: int):
        super().__init__()
        self.shape = (channels[-1], *(n // 16 for n in box_shape))
        self.bottleneck = nn.Linear(latent_dim, math.prod(self.shape))
        steps = []
        for before, after in itertools.pairwise(channels[::-1]):
            steps += [activation(), nn.ConvTranspose3d(before, after, 3, stride=2, padding=1, output_padding=1)]
        self.blocks = nn.Sequential(*steps, activation())
        self.last = nn.Linear(channels[0], 8)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        start = self.bottleneck(latents).unflatten(1, self.shape).contiguous(memory_format=torch.channels_last_3d)
        channels_last = self.blocks(start).permute(0, 2, 3, 4, 1)
        return self.last(channels_last.flatten(0, 3)).unflatten(0, (len(latents), -1))


class MapNetwork(nn.Module):
    """What every architecture is: from maps (n, V) of mask voxels to latents (n, K), and back.

    Parameters
    ----------
    linear : LinearModel
        Fitted to the training maps; its mean map and grid are the network's, and its number of latents.
    channels : tuple of int
        Channels after each of the four blocks.
    data_scale : float
        Standard deviation of the maps about their mean, over voxels and scans.
    """

    architecture: ClassVar[Architecture]
    mean: torch.Tensor
    data_scale: torch.Tensor
    place: torch.Tensor

    def __init__(self, linear: LinearModel, channels: tuple[int, ...], data_scale: float):
        super().__init__()
        grid, k = linear.grid, linear.latent_dim
        self.box_shape = grid.box_shape
        # Not persistent: they come from the maps (or the model file), and checkpoints stay small.
        for name, value in {
            "mean": torch.from_numpy(linear.mean),
            "data_scale": torch.tensor(float(data_scale)),
            "place": torch.from_numpy(folded_index(grid.box_index, grid.box_shape)),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.encoder = ConvEncoder(self.box_shape, channels, k)
        self.decoder = ConvDecoder(self.box_shape, channels, k)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # not in PyTorch's annotations

    def fold(self, centred: torch.Tensor) -> torch.Tensor:
        """Maps less their mean (n, V) as the encoder takes them: (n, P, 8), in units of ``data_scale``."""
        folded = centred.new_zeros(len(centred), math.prod(self.box_shape))
        folded[:, self.place] = centred / self.data_scale
        return folded.unflatten(1, (-1, 8))

    def unfold(self, box: torch.Tensor) -> torch.Tensor:
        """What the decoder gives, (n, P, 8), at the voxels of the mask: (n, V), in units of ``data_scale``."""
        voxels: torch.Tensor = Take.apply(box.flatten(1), self.place)  # type: ignore[no-untyped-call]  # PyTorch's
        return voxels

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (n, K) of maps (n, V)."""
        raise NotImplementedError

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Maps (n, V) of latents (n, K)."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x))


class Take(torch.autograd.Function):
    """``box[:, place]`` for places that are all different: the gradient is put back, with nothing to add up or sort."""

    @staticmethod
    def forward(ctx: Any, box: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(place)
        ctx.size = box.shape[1]
        return box[:, place]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (place,) = ctx.saved_tensors
        box = gradient.new_zeros(len(gradient), ctx.size)
        box[:, place] = gradient
        return box, None


def folded_index(box_index: np.ndarray, box_shape: tuple[int, int, int]) -> np.ndarray:
    """Where each voxel of a box lies after folding: 2x2x2 cubes in the order of the box, their 8 voxels side by side.

    Parameters
    ----------
    box_index : (V,) int array
        Flat index in the box.
    box_shape : tuple of int

    Returns
    -------
    (V,) int64 array
        Flat index in the (P, 8) folded box, P = X Y Z / 8.
    """
    where = np.unravel_index(box_index, box_shape)
    cube = np.ravel_multi_index(tuple(w // 2 for w in where), tuple(n // 2 for n in box_shape))
    return 8 * cube + np.ravel_multi_index(tuple(w % 2 for w in where), (2, 2, 2))
