"""Training a network, driven by Lightning.

Everything random is drawn from (seed, epoch, step), never from a running generator, so a training that was killed and
resumed from its last epoch ends with the weights of one that was not, and several processes share a batch as one would
see it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader, Dataset, Sampler

from bids_app.model.architectures import network_class
from bids_app.model.autoencoder import Autoencoder, reconstruction_error
from bids_app.model.launch import count_processes, launch, pick_device
from bids_app.model.linear_model import LinearModel
from bids_app.model.plan import Plan
from bids_app.model.task import Keeper, Progress, Task, most_typical
from bids_app.model.volumes import Volumes

log = logging.getLogger("latentatlas")


@dataclass(frozen=True, eq=False)
class Training:
    """What a training leaves.

    Attributes
    ----------
    model : Autoencoder
        With the weights of ``best_epoch``; of the last epoch if no participant was held out.
    history : DataFrame
        ``epoch, train_loss, valid_loss``; losses are shares of variance left unexplained, epoch 0 is the start.
    best_epoch : int
        Epoch with the lowest ``valid_loss``.
    valid_explained : (epochs + 1, n_valid) array
        Explained variance of each held-out map after each epoch; empty if no participant was held out.
    example : int
        Row of the held-out map whose explained variance at the start is the most typical (nearest the median);
        -1 if no participant was held out.
    reconstructions : dict of int to (V,) array
        That map as reconstructed after the epochs 0, 1, 2, 4, 8 ... and the best one.
    """

    model: Autoencoder
    history: pd.DataFrame
    best_epoch: int
    valid_explained: np.ndarray
    example: int
    reconstructions: dict[int, np.ndarray]


def train(  # noqa: PLR0913 - the last five say where and how it runs, not what is trained
    volumes: Volumes,
    linear: LinearModel,
    train_index: np.ndarray,
    valid_index: np.ndarray | None,
    plan: Plan,
    *,
    seed: int = 0,
    epochs: int | None = None,
    device: str = "auto",
    n_threads: int | None = None,
    n_processes: int | None = None,
    folder: str | PathLike[str] | None = None,
    callbacks: tuple[Callback, ...] = (),
) -> Training:
    """Train a network of the plan's architecture.

    Parameters
    ----------
    volumes : Volumes
    linear : LinearModel
        Fitted to the rows ``train_index`` alone.
    train_index, valid_index : int arrays
        Rows to learn from, and rows of other participants that decide when to stop (None: run all ``epochs``).
    plan : Plan
    seed : int
    epochs : int, optional
        Instead of the plan's ``max_epochs``.
    device : {"auto", "cpu", "cuda"}
        Mixed precision (bfloat16) is used on CUDA, where it is faster; never on a CPU.
    n_threads : int, optional
        Of torch, on the CPU.
    n_processes : int, optional
        Processes that share each batch (distributed data parallel); by default one a CUDA device, and one on a CPU.
    folder : path-like, optional
        Where checkpoints go; a training that was interrupted there is resumed. Nothing is written without.
    callbacks : tuple of Callback
        More Lightning callbacks.

    Returns
    -------
    Training
    """
    device = pick_device(device)
    epochs = plan.max_epochs if epochs is None else epochs
    train_index = np.asarray(train_index, int)
    valid_index = np.zeros(0, int) if valid_index is None else np.asarray(valid_index, int)
    spread = np.mean([((rows - linear.mean) ** 2).mean() for _, rows in volumes.batches(train_index)])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = network_class(plan.architecture)(linear, plan.channels, float(np.sqrt(max(spread, 1e-12))))
    model = Autoencoder(linear, network, plan.channels)
    if epochs == 0:
        return _untrained(volumes, model, valid_index)
    checkpoints = None
    if folder is not None:
        stamp = _fingerprint(plan, seed, epochs, train_index, valid_index, volumes, linear)
        checkpoints = _checkpoint_folder(Path(folder), stamp)
    mirror = volumes.grid.mirror if linear.prior.mirror_weight else None
    processes = n_processes or count_processes(device, plan.batch_size)
    task = Task(network, mirror, plan, seed)
    job = (task, volumes, train_index, valid_index, epochs, device, n_threads, processes, checkpoints, callbacks)
    weights, kept = launch(_fit, processes, *job)
    network.load_state_dict(weights)
    history = pd.DataFrame(kept["history"], columns=["epoch", "train_loss", "valid_loss"])
    best = kept["best_epoch"] if len(valid_index) else int(history.epoch.max())
    explained = np.array(kept["explained"] or np.zeros((0, 0)))
    example = int(valid_index[kept["example"]]) if len(valid_index) else -1
    reconstructions = {epoch: x.numpy() for epoch, x in sorted(kept["reconstructions"].items())}
    return Training(model, history, best, explained, example, reconstructions)


def _fit(  # noqa: PLR0913 - what one of several processes is given
    task: Task,
    volumes: Volumes,
    train_index: np.ndarray,
    valid_index: np.ndarray,
    epochs: int,
    device: str,
    n_threads: int | None,
    processes: int,
    checkpoints: Path | None,
    callbacks: tuple[Callback, ...],
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights and what the Keeper kept; in each of the processes."""
    if n_threads:
        torch.set_num_threads(n_threads)
    held_out = loader(volumes, valid_index, task.plan.batch_size) if len(valid_index) else None
    keeper, extra, last = Keeper(task, held_out), list[Callback](), None
    if checkpoints is not None:
        last = checkpoints / "last.ckpt"
        extra = [
            ModelCheckpoint(checkpoints, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
        ]
    resume = str(last) if last is not None and last.exists() else None
    if resume:
        log.info("Resuming an interrupted training from %s.", resume)
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator=device,
            devices=processes,
            strategy="ddp" if processes > 1 else "auto",
            precision="bf16-mixed" if device == "cuda" else "32-true",
            # Processes are launched here: do not wait for others that a scheduler's variables name.
            plugins=[TorchElasticEnvironment() if processes > 1 else LightningEnvironment()],
            use_distributed_sampler=False,  # the sampler deals out batches itself
            deterministic=device == "cuda",  # on a CPU it is so anyway
            logger=False,
            enable_checkpointing=bool(extra),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=str(checkpoints) if checkpoints is not None else None,
            callbacks=[keeper, Progress(), *extra, *callbacks],  # the keeper decides before the checkpoint is written
        )
        rank, size = trainer.global_rank, task.plan.batch_size
        order = EpochOrder(len(train_index), task.seed, rank, processes)
        trainer.fit(
            task,
            loader(volumes, train_index, max(1, size // processes), order),
            held_out,
            ckpt_path=resume,
            weights_only=True,
        )
    weights = keeper.best or {k: v.cpu() for k, v in task.network.state_dict().items()}
    task.cpu()
    return weights, keeper.state_dict()


def _untrained(volumes: Volumes, model: Autoencoder, valid_index: np.ndarray) -> Training:
    explained, valid_loss, example, reconstructions = np.zeros((0, 0)), math.nan, -1, {}
    if len(valid_index):
        explained = reconstruction_error(model, volumes, valid_index)[1][None]
        valid_loss, example = 1 - explained.mean(), int(valid_index[most_typical(explained[0])])
        reconstructions = {0: model.reconstruct(volumes.rows(np.array([example])))[0]}
    history = pd.DataFrame([(0, math.nan, valid_loss)], columns=["epoch", "train_loss", "valid_loss"])
    return Training(model, history, 0, explained, example, reconstructions)


class _Rows(Dataset[torch.Tensor]):
    """Maps of a cohort by row, a batch at a time."""

    def __init__(self, volumes: Volumes, index: np.ndarray):
        self.volumes, self.index = volumes, index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, place: int) -> torch.Tensor:
        return torch.from_numpy(self.volumes.data[self.index[place]])

    def __getitems__(self, places: list[int]) -> torch.Tensor:
        return torch.from_numpy(self.volumes.data[self.index[places]])


class EpochOrder(Sampler[int]):
    """A new order every epoch that depends on the seed and the epoch alone; Lightning says which epoch it is.

    Several processes take turns, so that their batches together are the batch that one process would see. Where the
    maps do not divide among them, the first of the order come again at its end.

    Parameters
    ----------
    n : int
        Maps.
    seed : int
    rank, processes : int
        Which process of how many.
    """

    def __init__(self, n: int, seed: int, rank: int = 0, processes: int = 1):
        self.n, self.seed, self.rank, self.processes, self.epoch = n, seed, rank, processes, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.n // self.processes)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch, 0xC0FFEE)).permutation(self.n)
        return iter(np.resize(order, len(self) * self.processes)[self.rank :: self.processes].tolist())


def loader(
    volumes: Volumes, index: np.ndarray, batch_size: int, order: EpochOrder | None = None
) -> DataLoader[torch.Tensor]:
    """Batches of the maps ``index``, (b, V) float16 tensors, in the order given."""
    return DataLoader(_Rows(volumes, index), batch_size=batch_size, sampler=order, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch


def _fingerprint(
    plan: Plan,
    seed: int,
    epochs: int,
    train_index: np.ndarray,
    valid_index: np.ndarray,
    volumes: Volumes,
    linear: LinearModel,
) -> str:
    """A hash of all that a training depends on: of the maps every thousandth voxel."""
    said = [asdict(plan), seed, epochs, train_index.tolist(), valid_index.tolist(), linear.latent_dim, linear.prior]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(volumes.data[:, ::997]).tobytes())
    return digest.hexdigest()


def _checkpoint_folder(folder: Path, stamp: str) -> Path:
    """The folder of checkpoints, emptied when they come from another training."""
    checkpoints = folder / "checkpoints"
    mark = checkpoints / "fingerprint"
    if not mark.exists() or mark.read_text() != stamp:
        shutil.rmtree(checkpoints, ignore_errors=True)
        checkpoints.mkdir(parents=True)
        mark.write_text(stamp)
    return checkpoints


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice (workers, loggers, hardware found) out of the run's log."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
