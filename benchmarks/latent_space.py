"""What was tried for the latent space: explained variance of unseen participants, epoch by epoch, one design per row.

    python benchmarks/latent_space.py VOLUMES.npy [--simulated SIM.npy] [--train 100 300 1000] [--latents 16 32 64]
        [--designs default ...] [--device cuda] [--workers 4] [--json latent_space.json]

``VOLUMES.npy`` is the memory-mapped cohort that the group level leaves in its work folder (``volumes.npy``). Real maps
are cross-validated (five folds of participants, once a seed). With ``--train``, the simulated cohort (on the same grid)
is used instead: its last 300 maps for testing, the first n of the others for training. Pretrained designs start from
the simulated maps, shifted to the real mean. Every design starts from the linear path of ``--prior``, fitted to the
training maps.

The curve of a design is followed on the test maps themselves, so its highest point flatters the design: it is what
perfect early stopping would give. What the app makes of it without a look at the test maps is the row ``procedure``.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bids_app.model.architectures.residual import Network
from bids_app.model.autoencoder import reconstruction_error
from bids_app.model.cross_fitting import fit, split_participants
from bids_app.model.linear_model import LinearModel, Prior, fit_linear
from bids_app.model.plan import Plan, make_plan
from bids_app.model.volumes import load_volumes

N_TEST = 300
DESIGNS = {
    "default": {},
    "no mirrored maps": {"mirror": False},
    "rate a tenth, 200 epochs": {"rate": 0.1, "epochs": 200},
    "batch 16": {"batch": 16},
    "wider (32-64-128-256)": {"channels": (32, 64, 128, 256)},
    "KL on the residual, 0.001": {"kl": 0.001},
    "KL on the residual, 0.1": {"kl": 0.1},
    "plain autoencoder": {"plain": True, "epochs": 120},
    "plain VAE, KL 0.001": {"plain": True, "kl": 0.001, "epochs": 120},
    "plain VAE, KL 0.03": {"plain": True, "kl": 0.03, "epochs": 120},
    "pretrained on simulated maps": {"pretrain": 20},
    "pretrained, rate a tenth": {"pretrain": 20, "rate": 0.1, "epochs": 100},
}


class Design(nn.Module):
    """The app's network, plain (no linear path) or not, with noise on the latents where a KL term asks for it."""

    def __init__(self, linear: LinearModel, scale: float, channels, plain: bool, kl: float):
        super().__init__()
        if plain:
            linear = LinearModel(linear.grid, linear.mean, 0 * linear.components, np.ones(linear.latent_dim))
        self.network, self.kl = Network(linear, channels, scale), kl
        if plain:
            for layer in (self.network.encoder.bottleneck, self.network.decoder.last):
                layer.reset_parameters()
        self.log_sd = nn.Parameter(torch.full((linear.latent_dim,), -2.0)) if kl else None

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Share of variance left; the KL term is the mean over latents of KL(N(m, sd) || N(0, 1))."""
        net = self.network
        z, penalty = net.encode(x), 0.0
        if self.kl:
            m = (z - (x - net.mean) @ net.components.T) / net.scale
            penalty = self.kl * 0.5 * (m**2 + torch.exp(2 * self.log_sd) - 1 - 2 * self.log_sd).mean()
            z = z + net.scale * torch.exp(self.log_sd) * torch.randn_like(z)
        return ((net.decode(z) - x) ** 2).mean() / net.data_scale**2 + penalty

    def explained(self, x: torch.Tensor) -> float:
        """Mean explained variance of maps."""
        with torch.inference_mode():
            left = torch.cat([((self.network(b) - b) ** 2).sum(1) for b in x.split(16)])
            return float((1 - left / ((x - self.network.mean) ** 2).sum(1)).mean())


def descend(design: Design, x, mirror, epochs: int, batch: int, rate: float, after=None) -> None:
    """AdamW as in the app; ``after`` is called after each epoch."""
    optimizer = torch.optim.AdamW(design.parameters(), lr=rate, weight_decay=Plan(1, 1).weight_decay)
    for _ in range(epochs):
        design.train()
        for places in torch.randperm(len(x)).split(batch):
            b = x[places.to(x.device)]
            if mirror is not None:
                b = torch.where(torch.rand(len(b), 1, device=b.device) < 0.5, b[:, mirror], b)
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda):
                loss = design.loss(b)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(design.parameters(), 1.0)
            optimizer.step()
        design.eval()
        if after:
            after(design)


def curve(job: dict) -> dict:
    """Explained variance of the test maps after each epoch of one training."""
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    began, device = time.time(), job["device"]
    volumes = load_volumes(job["volumes"])
    train, test = np.array(job["train"]), np.array(job["test"])
    pca = fit_linear(volumes, train, job["k"])
    out = {key: job[key] for key in ("cohort", "k", "seed", "design")} | {"n": len(train)}
    out["pca"] = float(reconstruction_error(pca, volumes, test)[1].mean())
    if job["design"] == "procedure":
        ids = [str(i) for i in range(len(volumes))]
        plan = make_plan([ids[i] for i in train], None, latent_dim=job["k"])
        plan = replace(plan, max_epochs=min(plan.max_epochs, job["most"]))
        found = fit(volumes, train, ids, plan, seed=job["seed"], device=device, n_threads=1)
        found.model.network.to(device)
        out |= {"k_used": plan.latent_dim, "epochs": found.choices["epochs"], "prior": found.choices["prior"]}
        out["start"] = float(reconstruction_error(found.model.linear, volumes, test)[1].mean())
        out["best"] = float(reconstruction_error(found.model, volumes, test)[1].mean())
        return out | {"seconds": time.time() - began}
    settings = DESIGNS[job["design"]]
    linear = fit_linear(volumes, train, job["k"], prior=Prior(*job["prior"]))
    x, y = (torch.from_numpy(volumes.rows(i)).to(device) for i in (train, test))
    scale = float((x - x.mean(0)).std())
    channels = settings.get("channels", Plan(1, 1).channels)
    design = Design(linear, scale, channels, settings.get("plain", False), settings.get("kl", 0.0)).to(device)
    mirror = None
    if job["prior"][0] and settings.get("mirror", True):
        mirror = torch.from_numpy(volumes.grid.mirror).to(device)
    plan = Plan(1, 1)
    batch = settings.get("batch", 4 if len(train) < 200 else 8 if len(train) < 1000 else 16)
    rate = plan.learning_rate * settings.get("rate", 1.0)
    if settings.get("pretrain"):
        others = load_volumes(job["simulated"])
        extra = torch.from_numpy(others.rows(np.arange(len(others)))).to(device)
        extra = extra - extra.mean(0) + torch.from_numpy(linear.mean).to(device)
        descend(design, extra, mirror, min(settings["pretrain"], job["most"]), 16, plan.learning_rate)
    values = [design.explained(y)]
    epochs = min(settings.get("epochs", 60), job["most"])
    descend(design, x, mirror, epochs, batch, rate, after=lambda d: values.append(d.explained(y)))
    return out | {"curve": values, "seconds": time.time() - began}


def jobs(options) -> list[dict]:
    """All trainings that were asked for."""
    common = {
        "most": options.most,
        "device": options.device,
        "simulated": str(options.simulated),
        "volumes": str(options.volumes),
    }
    made = []
    if not options.train:
        n = len(load_volumes(options.volumes))
        for seed in options.seeds:
            fold = split_participants(np.arange(n), 5, seed)
            for f in range(5):
                split = {"train": np.flatnonzero(fold != f).tolist(), "test": np.flatnonzero(fold == f).tolist()}
                made += [
                    {**common, **split, "cohort": "real", "k": k, "seed": seed, "design": d, "prior": options.prior}
                    for k in options.latents
                    for d in options.designs
                ]
        return made
    total = len(load_volumes(options.simulated))
    for n in options.train:
        split = {"train": list(range(n)), "test": list(range(total - N_TEST, total))}
        made += [
            {**common, **split, "volumes": str(options.simulated), "cohort": "simulated", "k": k, "seed": seed,
             "design": d, "prior": options.prior}
            for k in options.latents
            for seed in options.seeds
            for d in options.designs
        ]  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", type=Path)
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--train", type=int, nargs="*", default=[], help="sizes of simulated training cohorts")
    parser.add_argument("--latents", type=int, nargs="+", default=[16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--prior", type=float, nargs=2, default=(0.5, 12.0), metavar=("MIRROR", "MM"))
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), help=f"procedure, or of {list(DESIGNS)}")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--most", type=int, default=10**6, help="epochs at most")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(curve, jobs(options)):
            found.append(row)
            print({k: v for k, v in row.items() if k != "curve"}, flush=True)
            if options.json:
                options.json.write_text(json.dumps(found))
    keys = sorted({(r["cohort"], r["n"], r["k"], r["design"]) for r in found if r["cohort"] != "real"})
    keys += sorted({("real", None, r["k"], r["design"]) for r in found if r["cohort"] == "real"}, key=str)
    for cohort, n, k, design in keys:
        rows = [r for r in found if (r["cohort"], r["k"], r["design"]) == (cohort, k, design) and n in (None, r["n"])]
        pca = np.mean([r["pca"] for r in rows])
        if design == "procedure":
            text = f"start {np.mean([r['start'] for r in rows]):.4f}  end {np.mean([r['best'] for r in rows]):.4f}"
        else:
            mean = np.mean([r["curve"] for r in rows], 0)
            text = f"start {mean[0]:.4f}  best {mean.max():.4f} (epoch {mean.argmax()})  last {mean[-1]:.4f}"
        print(f"{cohort:<10} n {n or '':<5} K {k:<3} {design:<32} PCA {pca:.4f}  {text}")


if __name__ == "__main__":
    main()
