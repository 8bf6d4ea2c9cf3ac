"""A plain convolutional autoencoder: convolutions around a compact bottleneck, and no linear path.

    z = E((x - mean) / c)            encoder
    x = mean + c * D(z)              decoder

c is the standard deviation of the maps about their mean; E and D are four blocks of stride 2 (1-16-32-64-128 channels)
and their mirror image around a linear bottleneck. Subtracting the mean map and dividing by c is the standardisation of
its input. The last layer of D starts at zero, so that training starts at the mean map; all others keep the variance of
what passes through them (He et al. 2015, ICCV), or the way from map to map would begin with nothing but noise.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from bids_app.model.linear_model import LinearModel
from bids_app.model.network import MapNetwork
from bids_app.schema.architectures import CONV


class Network(MapNetwork):
    """Convolutions alone."""

    architecture = CONV

    def __init__(self, linear: LinearModel, channels: tuple[int, ...], data_scale: float):
        super().__init__(linear, channels, data_scale)
        for layer in self.modules():
            if isinstance(layer, nn.ConvTranspose3d):
                # At stride 2 a voxel of the output meets an eighth of the kernel's 27 places.
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_channels * 27 / 8)))
            elif isinstance(layer, nn.Linear | nn.Conv3d) and layer is not self.decoder.last:
                nn.init.kaiming_normal_(layer.weight)
            if isinstance(layer, nn.Linear | nn.Conv3d | nn.ConvTranspose3d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (n, K) of maps (n, V)."""
        latents: torch.Tensor = self.encoder(self.fold(x - self.mean))
        return latents

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Maps (n, V) of latents (n, K)."""
        return self.mean + self.data_scale * self.unfold(self.decoder(z)).float()
