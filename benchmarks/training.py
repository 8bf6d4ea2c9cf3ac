"""How fast the autoencoder trains and encodes, beside a peer and the machine's own limit, in one run.

    python benchmarks/training.py [--resolutions 4 3 2] [--threads 1] [--seconds 5] [--json training.json]

For each resolution a box of the size that a brain needs there is filled with noise, and three things are timed:

- ours: a training step (forward, backward, AdamW) and encoding with the residual autoencoder of this project;
- peer: the same with MONAI's ``AutoEncoder`` of the same channels where MONAI is installed, otherwise a plain
  channels-first network of stride-2 convolutions with the same channels and bottleneck;
- limit: how fast the machine multiplies matrices (float32), which no convolution can exceed by ordinary means.

Floating-point operations are counted by torch, so that the share of the limit compares like with like.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bids_app.model.grid import Grid, Sampling
from bids_app.model.linear import LinearModel
from bids_app.model.network import ResidualAutoencoder

BRAIN_MM = (146, 184, 156)  # extent of the grey matter in MNI space
CHANNELS, LATENTS, BATCH = (16, 32, 64, 128), 64, 4


def measure(function, seconds: float) -> float:
    """Median seconds of a call, after two calls to warm up."""
    times = []
    for _ in range(2):
        function()
    start = time.perf_counter()
    while not times or time.perf_counter() - start < seconds:
        began = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def matmul_peak(seconds: float, device: str, n: int = 2048) -> float:
    """Floating-point operations a second of a float32 matrix product."""
    a, b = torch.randn(2, n, n, device=device)
    return 2 * n**3 / measure(lambda: a @ b, seconds)


def ours(resolution: float) -> tuple[nn.Module, torch.Tensor]:
    """Our network and a batch of (4, V) vectors for an ellipsoid brain."""
    shape = tuple(int(np.ceil(mm / resolution)) for mm in BRAIN_MM)
    centre = (np.array(shape) - 1) / 2
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    mask = (((points - centre) / (np.array(shape) / 2)) ** 2).sum(-1) < 1
    affine = np.diag([resolution, resolution, resolution, 1.0])
    grid = Grid(Sampling(shape, affine, 0.0, resolution), mask)
    rng = np.random.default_rng(0)
    components = rng.standard_normal((LATENTS, grid.n_voxels), dtype=np.float32) / np.sqrt(grid.n_voxels)
    linear = LinearModel(grid, np.zeros(grid.n_voxels), components, np.ones(LATENTS))
    return ResidualAutoencoder(linear, CHANNELS, 1.0), torch.randn(BATCH, grid.n_voxels)


def peer(box: tuple[int, int, int]) -> tuple[str, nn.Module, torch.Tensor]:
    """MONAI's autoencoder, or a plain one, and a batch of boxes."""
    x = torch.randn(BATCH, 1, *box)
    try:
        from monai.networks.nets import AutoEncoder
    except ImportError:
        width = CHANNELS[-1] * int(np.prod([n // 16 for n in box]))
        down, up = [], []
        for before, after in zip((1, *CHANNELS), CHANNELS, strict=False):
            down += [nn.Conv3d(before, after, 3, 2, 1), nn.InstanceNorm3d(after), nn.PReLU()]
            up = [nn.ConvTranspose3d(after, before, 3, 2, 1, 1), nn.InstanceNorm3d(before), nn.PReLU(), *up]
        middle = [nn.Flatten(), nn.Linear(width, LATENTS), nn.Linear(LATENTS, width)]
        bottom = nn.Unflatten(1, (CHANNELS[-1], *(n // 16 for n in box)))
        return "plain network", nn.Sequential(*down, *middle, bottom, *up[:-2]), x
    return "MONAI AutoEncoder", AutoEncoder(3, 1, 1, channels=CHANNELS, strides=(2,) * 4), x


def time_network(network: nn.Module, x: torch.Tensor, encode, peak: float, seconds: float, device: str) -> dict:
    """Volumes a second of a training step and of encoding, and the share of the limit."""
    network, x = network.to(device), x.to(device)
    optimizer = torch.optim.AdamW(network.parameters())

    def step():
        optimizer.zero_grad()
        ((network(x) - x) ** 2).mean().backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    seconds_step = measure(step, seconds)
    with torch.inference_mode():
        seconds_encode = measure(lambda: encode(network, x), seconds)
    return {
        "train_volumes_per_s": len(x) / seconds_step,
        "encode_volumes_per_s": len(x) / seconds_encode,
        "gflop_per_volume_and_step": counter.get_total_flops() / len(x) / 1e9,
        "share_of_matmul_peak": counter.get_total_flops() / seconds_step / peak,
    }


def encode_peer(network, x):
    """The peer's encoder alone."""
    if isinstance(network, nn.Sequential):
        return network[: 3 * len(CHANNELS) + 2](x)
    return network.encode(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=float, nargs="+", default=[4, 3, 2], help="mm")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="time for each measurement")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = []
    for resolution in options.resolutions:
        network, x = ours(resolution)
        peak = matmul_peak(options.seconds / 2, options.device)
        more = {"peak": peak, "seconds": options.seconds, "device": options.device}
        mine = time_network(network, x, lambda net, batch: net.encode(batch), **more)
        name, other, boxes = peer(network.box_shape)
        theirs = time_network(other, boxes, encode_peer, **more)
        for who, figures in (("ours", mine), (name, theirs)):
            rows.append({"resolution": resolution, "box": network.box_shape, "who": who, "matmul_gflops": peak / 1e9})
            rows[-1] |= figures
    head = (
        f"{'mm':>4} {'box':>12} {'who':<18} {'train vol/s':>12} {'encode vol/s':>13} {'GFLOP/vol':>10} {'of peak':>8}"
    )
    print(head)
    for row in rows:
        box = "x".join(map(str, row["box"]))
        print(
            f"{row['resolution']:>4g} {box:>12} {row['who']:<18} {row['train_volumes_per_s']:>12.2f} "
            f"{row['encode_volumes_per_s']:>13.2f} {row['gflop_per_volume_and_step']:>10.2f} "
            f"{row['share_of_matmul_peak']:>8.0%}"
        )
    print(f"matrix product: {rows[0]['matmul_gflops']:.0f} GFLOP/s, {options.threads} thread(s), {options.device}")
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        record = {
            "machine": machine,
            "threads": options.threads,
            "batch": BATCH,
            "device": options.device,
            "rows": rows,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
