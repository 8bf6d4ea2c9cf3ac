"""Principal components as a linear path, with a convolutional residual that starts at nothing.

    z = W (x - mean) + s * E((x - mean) / c)            encoder
    x = mean + W' z + c * D(z / s)                      decoder

W are the cohort's (mirror-weighted) principal components, s the standard deviations of their scores, c that of the
maps; E and D are four blocks of stride 2 (1-16-32-64-128 channels) and their mirror image around a linear bottleneck.
The last layers of E and D start at zero, so training starts at the linear model and can only leave it where held-out
participants gain from that (compare the zero-initialised residual branches of Zhang, Dauphin & Ma 2019, Fixup).
W stays as fitted: it already is the best linear map of the training cohort.
"""

from __future__ import annotations

import torch

from bids_app.model.linear_model import LinearModel
from bids_app.model.network import MapNetwork
from bids_app.schema.architectures import RESIDUAL


class Network(MapNetwork):
    """The linear path, and what the convolutions add to it."""

    architecture = RESIDUAL
    components: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: LinearModel, channels: tuple[int, ...], data_scale: float):
        super().__init__(linear, channels, data_scale)
        self.register_buffer("components", torch.from_numpy(linear.components), persistent=False)
        self.register_buffer("scale", torch.from_numpy(linear.scale).clamp_min(1e-6), persistent=False)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (n, K) of maps (n, V)."""
        centred = x - self.mean
        with torch.autocast(x.device.type, enabled=False):  # mixed precision is for the convolutions
            linear = centred @ self.components.T
        return linear + self.scale * self.encoder(self.fold(centred))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Maps (n, V) of latents (n, K)."""
        residual = self.unfold(self.decoder(z / self.scale))
        with torch.autocast(z.device.type, enabled=False):
            return torch.addmm(self.mean, z.float(), self.components).addcmul(residual.float(), self.data_scale)
