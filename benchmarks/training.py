"""How fast the autoencoder trains and encodes, beside MONAI's and the machine's own limit, in one run.

    python benchmarks/training.py [--resolutions 3 2 1.5] [--threads 2] [--device cpu|cuda] [--json training.json]

For each resolution a few maps of noise in an ellipsoid as large as a brain are written as NIfTI, and trained on by

- ours: ``Volumes`` (memory-mapped) -> the project's loader -> a step of the residual autoencoder with AdamW;
- MONAI (``pip install --no-deps monai``; left out where it is missing): ``CacheDataset`` with every map cached ->
  ``DataLoader`` -> a step of ``AutoEncoder`` with the same channels and strides, mean squared error and Adam, as in
  MONAI's tutorials.

Reading the files is not timed: both read them once. Epochs of the two alternate, and medians are given, so that other
work on the machine meets both. On CUDA both run in mixed precision (bfloat16). Said of each:

- epoch: volumes a second of whole epochs, loader and optimiser included; encode: of encoding, maps already in memory;
- shares of an epoch, from torch's profiler: 3x3x3: in convolution kernels; 1x1x1: in ours' first and last convolution,
  which are matrix products over the channels; products: in other matrix products (linear path, bottleneck); activation;
  placing: voxels and cubes put into the box and taken out; optimiser: with the clipping of gradients; the rest is the
  loss, the loader, sums and copies, and the profiler's own cost;
- of peak: floating-point operations of a step over what a large matrix product reaches on the same device.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch.nn.functional import mse_loss
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bids_app.model.architectures.residual import Network
from bids_app.model.linear_model import LinearModel
from bids_app.model.plan import Plan
from bids_app.model.training import EpochOrder, loader
from bids_app.model.volumes import Volumes, build_volumes

BRAIN_MM = (146, 184, 156)  # extent of the grey matter in MNI space
CHANNELS, LATENTS = Plan(64, 64).channels, 64
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm")
KINDS = {
    "3x3x3": ("aten::convolution", "aten::convolution_backward"),
    "1x1x1": (),
    "products": PRODUCTS,
    "activation": ("aten::leaky_relu_", "aten::leaky_relu_backward", "aten::_prelu_kernel",
                   "aten::_prelu_kernel_backward", "aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "placing": ("aten::index", "aten::_index_put_impl_", "aten::new_zeros"),
    "optimiser": ("Optimizer.step#AdamW.step", "Optimizer.step#Adam.step", "aten::linalg_vector_norm",
                  "aten::_foreach_norm"),
}  # fmt: skip


def write_maps(folder: Path, n: int, resolution: float) -> tuple[list[Path], np.ndarray]:
    """Maps of noise in an ellipsoid, and its mask."""
    shape = tuple(int(np.ceil(mm / resolution)) for mm in BRAIN_MM)
    centre = (np.array(shape) - 1) / 2
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    mask = (((points - centre) / (np.array(shape) / 2)) ** 2).sum(-1) < 1
    affine = np.diag([resolution] * 3 + [1.0])
    affine[:3, 3] = -resolution * centre
    rng, paths = np.random.default_rng(0), []
    for number in range(n):
        paths.append(folder / f"{number}.nii.gz")
        data = mask * rng.uniform(0.1, 1, shape)
        nib.save(nib.Nifti1Image(data.astype(np.float32), affine), paths[-1])
    return paths, nib.Nifti1Image(mask.astype(np.uint8), affine)


class Ours:
    """The project's loader, network and optimiser."""

    name = "ours"

    def __init__(self, volumes: Volumes, batch: int, device: str):
        rng = np.random.default_rng(0)
        components = rng.standard_normal((LATENTS, volumes.grid.n_voxels), dtype=np.float32)
        components /= np.sqrt(volumes.grid.n_voxels)
        linear = LinearModel(volumes.grid, volumes.mean(np.arange(len(volumes))), components, np.ones(LATENTS))
        self.network = Network(linear, CHANNELS, 1.0).to(device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), fused=True)
        self.batches = loader(volumes, np.arange(len(volumes)), batch, EpochOrder(len(volumes), 0))
        self.encode = self.network.encode


class Monai:
    """MONAI's usual pipeline around its AutoEncoder."""

    name = "MONAI"

    def __init__(self, paths: list[Path], box: tuple[int, int, int], batch: int, device: str):
        from monai.data import CacheDataset, DataLoader
        from monai.networks.nets import AutoEncoder
        from monai.transforms import Compose, EnsureChannelFirst, EnsureType, LoadImage, ResizeWithPadOrCrop

        steps = [LoadImage(image_only=True), EnsureChannelFirst(), ResizeWithPadOrCrop(box), EnsureType()]
        data = CacheDataset([str(p) for p in paths], Compose(steps), cache_rate=1.0, progress=False)
        self.network = AutoEncoder(3, 1, 1, channels=CHANNELS, strides=(2,) * len(CHANNELS)).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.batches = DataLoader(data, batch_size=batch, shuffle=True, num_workers=0)
        self.encode = lambda x: self.network.intermediate(self.network.encode(x))


def step(who, x: torch.Tensor) -> None:
    """Forward, backward, optimiser."""
    who.optimizer.zero_grad()
    with torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda):
        loss = mse_loss(who.network(x), x)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(who.network.parameters(), 1.0)
    who.optimizer.step()


def epoch(who, device: str) -> None:
    """Every map once."""
    for x in who.batches:
        step(who, torch.as_tensor(x).to(device).float())


def seconds(function: Callable[[], object], device: str) -> float:
    """Wall time of a call, the device's work included."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def shares(who, device: str) -> dict[str, float]:
    """Share of an epoch in operations of each kind."""
    on = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=on, record_shapes=True) as recorded:
        whole = seconds(lambda: epoch(who, device), device) * 1e6
    spent = dict.fromkeys(KINDS, 0.0)
    for event in recorded.key_averages(group_by_input_shape=True):
        for kind, names in KINDS.items():
            if event.key in names:
                # The 8 voxels of a cube against the channels of the first block.
                cubes = event.key in PRODUCTS and {8, CHANNELS[0]} <= {n for s in event.input_shapes for n in s}
                time = event.device_time_total if device == "cuda" else event.cpu_time_total
                spent["1x1x1" if cubes else kind] += time / whole
    return spent


def matmul_peak(device: str, n: int = 0) -> float:
    """Floating-point operations a second of a large matrix product, float32 on a CPU and bfloat16 on CUDA."""
    n = n or (8192 if device == "cuda" else 2048)
    a, b = torch.randn(2, n, n, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    return 2 * n**3 / min(seconds(lambda: a @ b, device) for _ in range(8))


def measure(who, device: str) -> dict:
    """What is not repeated: floating-point operations, shares."""
    x = torch.as_tensor(next(iter(who.batches))).to(device).float()
    with FlopCounterMode(display=False) as counter:
        step(who, x)
    gflop = counter.get_total_flops() / len(x) / 1e9
    return {"who": who.name, "gflop": gflop, "shares": shares(who, device), "x": x}


def run(resolution: float, options) -> list[dict]:
    """All figures at one resolution."""
    device = options.device
    with tempfile.TemporaryDirectory() as folder:
        paths, mask = write_maps(Path(folder), options.maps, resolution)
        volumes = build_volumes(paths, Path(folder) / "v.npy", fwhm=0, mask=mask)
        contestants = [Ours(volumes, options.batch, device)]
        try:
            contestants.append(Monai(paths, volumes.grid.box_shape, options.batch, device))
        except ImportError:
            print("MONAI is not installed: ours alone")
        for who in contestants:
            epoch(who, device)
        peak = matmul_peak(device)
        found = [measure(who, device) for who in contestants]
        times = {who.name: ([], []) for who in contestants}
        for _ in range(options.rounds):
            for who, row in zip(contestants, found, strict=True):
                times[who.name][0].append(seconds(lambda who=who: epoch(who, device), device) / len(paths))
                with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
                    x = row["x"]
                    times[who.name][1].append(seconds(lambda who=who, x=x: who.encode(x), device) / len(x))
    for row in found:
        del row["x"]
        train, encode = (float(np.median(t)) for t in times[row["who"]])
        row |= {"resolution": resolution, "box": volumes.grid.box_shape, "epoch": 1 / train, "encode": 1 / encode}
        row |= {"of_peak": row["gflop"] * 1e9 / train / peak, "peak_gflops": peak / 1e9}
        row["spread"] = float(np.ptp(times[row["who"]][0]) / train)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=float, nargs="+", default=[3, 2, 1.5], help="mm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--maps", type=int, default=16, help="volumes in an epoch")
    parser.add_argument("--batch", type=int, default=Plan(64, 64).batch_size, help="volumes in a step")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each, in turn")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = []
    heads = (
        f"{'mm':>4} {'box':>12} {'who':<6} {'epoch vol/s':>12} {'encode vol/s':>13} {'GFLOP/vol':>10} {'of peak':>8}"
    )
    print(heads, "", *KINDS)
    for resolution in options.resolutions:
        for row in run(resolution, options):
            rows.append(row)
            print(
                f"{resolution:>4g} {'x'.join(map(str, row['box'])):>12} {row['who']:<6} {row['epoch']:>12.2f} "
                f"{row['encode']:>13.2f} {row['gflop']:>10.2f} {row['of_peak']:>8.1%}  "
                + " ".join(f"{row['shares'][kind]:>{len(kind)}.0%}" for kind in KINDS),
                flush=True,
            )
    print(f"matrix product: {rows[0]['peak_gflops']:.0f} GFLOP/s, {options.threads} thread(s), {options.device}")
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        record = {"machine": machine, "threads": options.threads, "batch": options.batch, "device": options.device}
        options.json.write_text(json.dumps(record | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
