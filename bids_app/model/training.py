"""Training the convolutional residual, driven by Lightning.

Everything random is drawn from (seed, epoch, step), never from a running generator, so a training that was killed and
resumed from its last epoch ends with the weights of one that was not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm.auto import tqdm

from bids_app.errors import UsageError
from bids_app.model.autoencoder import Autoencoder, reconstruction_error
from bids_app.model.linear import LinearModel
from bids_app.model.network import ResidualAutoencoder
from bids_app.model.plan import Plan
from bids_app.model.volumes import Volumes

log = logging.getLogger("latentatlas")


@dataclass(frozen=True, eq=False)
class Training:
    """What a training leaves.

    Attributes
    ----------
    model : Autoencoder
        With the weights of ``best_epoch``; of the last epoch where nobody was held out.
    history : DataFrame
        ``epoch, train_loss, valid_loss``; losses are shares of variance left unexplained, epoch 0 is the linear path.
    best_epoch : int
        Epoch with the lowest ``valid_loss``.
    valid_explained : (epochs + 1, n_valid) array
        Explained variance of each held-out map after each epoch; empty where nobody was held out.
    """

    model: Autoencoder
    history: pd.DataFrame
    best_epoch: int
    valid_explained: np.ndarray


def train(
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
    folder: str | PathLike | None = None,
    callbacks: tuple[Callback, ...] = (),
) -> Training:
    """Train the convolutional residual of a linear model.

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
    folder : path-like, optional
        Where checkpoints go; a training that was interrupted there is resumed. Nothing is written without.
    callbacks : tuple of Callback
        More Lightning callbacks.

    Returns
    -------
    Training
    """
    device = pick_device(device)
    if n_threads:
        torch.set_num_threads(n_threads)
    epochs = plan.max_epochs if epochs is None else epochs
    train_index = np.asarray(train_index, int)
    valid_index = np.zeros(0, int) if valid_index is None else np.asarray(valid_index, int)
    spread = np.mean([((rows - linear.mean) ** 2).mean() for _, rows in volumes.batches(train_index)])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ResidualAutoencoder(linear, plan.channels, float(np.sqrt(max(spread, 1e-12))))
    if epochs == 0:
        return _untrained(volumes, Autoencoder(linear, network, plan.channels), valid_index)
    task = _Task(network, volumes.grid.mirror if linear.prior.mirror_weight else None, plan, seed)
    keeper = _Keeper(plan.patience)
    extra, last = [], None
    if folder is not None:
        stamp = _fingerprint(plan, seed, epochs, train_index, valid_index, volumes, linear)
        last = _checkpoint_folder(Path(folder), stamp) / "last.ckpt"
        extra = [
            ModelCheckpoint(last.parent, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
        ]
    resume = str(last) if last is not None and last.exists() else None
    if resume:
        log.info("Resuming an interrupted training from %s.", resume)
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator=device,
            devices=1,
            precision="bf16-mixed" if device == "cuda" else "32-true",
            plugins=[LightningEnvironment()],  # one process: do not wait for others that a scheduler's variables name
            logger=False,
            enable_checkpointing=bool(extra),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=1.0,
            default_root_dir=str(folder) if folder is not None else None,
            callbacks=[keeper, _Progress(), *extra, *callbacks],  # the keeper decides before the checkpoint is written
        )
        trainer.fit(
            task,
            _loader(volumes, train_index, plan.batch_size, seed),
            _loader(volumes, valid_index, plan.batch_size, None) if len(valid_index) else None,
            ckpt_path=resume,
            weights_only=True,
        )
    if keeper.best is not None:
        network.load_state_dict(keeper.best)
    network.cpu()
    explained = np.array(keeper.explained) if keeper.explained else np.zeros((0, 0))
    history = pd.DataFrame(keeper.history, columns=["epoch", "train_loss", "valid_loss"])
    best = keeper.best_epoch if len(valid_index) else int(history.epoch.max())
    return Training(Autoencoder(linear, network, plan.channels), history, best, explained)


def _untrained(volumes: Volumes, model: Autoencoder, valid_index: np.ndarray) -> Training:
    explained = reconstruction_error(model, volumes, valid_index)[1][None] if len(valid_index) else np.zeros((0, 0))
    valid_loss = 1 - explained.mean() if len(valid_index) else math.nan
    history = pd.DataFrame([(0, math.nan, valid_loss)], columns=["epoch", "train_loss", "valid_loss"])
    return Training(model, history, 0, explained)


def pick_device(device: str) -> str:
    """``cpu`` or ``cuda``; UsageError where CUDA is asked for and not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"There is no device called {device!r}.", remedy="Use auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "No CUDA device can be seen.", remedy="Use --device auto, or give the container its GPU (--nv)."
        )
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


class _Task(pl.LightningModule):
    """The loss; half the maps of a training batch are mirrored where the linear path finds symmetry."""

    def __init__(self, network: ResidualAutoencoder, mirror: np.ndarray | None, plan: Plan, seed: int):
        super().__init__()
        self.network, self.plan, self.seed = network, plan, seed
        self.register_buffer("mirror", None if mirror is None else torch.from_numpy(mirror), persistent=False)

    def configure_optimizers(self):
        p = self.plan
        fused = self.network.mean.device.type == "cuda"
        return torch.optim.AdamW(
            self.network.parameters(), lr=p.learning_rate, weight_decay=p.weight_decay, fused=fused
        )

    def training_step(self, x, step):
        if self.mirror is not None:
            chosen = np.random.default_rng((self.seed, self.current_epoch, step)).random((len(x), 1)) < 0.5
            x = torch.where(torch.from_numpy(chosen).to(x.device), x[:, self.mirror], x)
        loss = ((self.network(x) - x) ** 2).mean() / self.network.data_scale**2
        return {"loss": loss, "n": len(x)}

    def validation_step(self, x, step):
        with torch.autocast(x.device.type, enabled=False):
            left = ((self.network(x) - x) ** 2).sum(1)
            return 1 - left / ((x - self.network.mean) ** 2).sum(1).clamp_min(1e-12)


class _Keeper(Callback):
    """Losses of every epoch, the best weights, and when to stop. The linear path is epoch 0, and can win."""

    def __init__(self, patience: int):
        self.patience = patience
        self.history, self.explained, self.best, self.best_epoch = [], [], None, 0

    def on_train_epoch_start(self, trainer, task):
        if not self.history:  # the linear path, before any step
            self._train = None
            loader = trainer.val_dataloaders
            self._valid = []
            if loader is not None:
                task.eval()
                with torch.inference_mode():
                    self._valid = [task.validation_step(x.to(task.device), i).cpu() for i, x in enumerate(loader)]
                task.train()
            self._close(0, task)
        self._train, self._valid = [], []

    def on_train_batch_end(self, trainer, task, outputs, batch, step):
        self._train.append((float(outputs["loss"].detach()), len(batch)))

    def on_validation_batch_end(self, trainer, task, outputs, batch, step, dataloader_idx=0):
        self._valid.append(outputs.detach().cpu())

    def on_train_epoch_end(self, trainer, task):
        self._close(trainer.current_epoch + 1, task)
        if self.explained and trainer.current_epoch + 1 - self.best_epoch >= self.patience:
            trainer.should_stop = True

    def _close(self, epoch, task):
        train = valid = math.nan
        if self._train:
            losses, sizes = zip(*self._train, strict=True)
            train = float(np.average(losses, weights=sizes))
        if self._valid:
            self.explained.append(torch.cat(self._valid).double().tolist())
            valid = 1 - float(np.mean(self.explained[-1]))
            if epoch == 0 or valid < min(v for _, _, v in self.history):
                self.best_epoch = epoch
                self.best = {k: v.detach().cpu().clone() for k, v in task.network.state_dict().items()}
        self.history.append((epoch, train, valid))

    def state_dict(self):
        return {k: getattr(self, k) for k in ("history", "explained", "best", "best_epoch")}

    def load_state_dict(self, state):
        for key, value in state.items():
            setattr(self, key, value)
        self.history = [tuple(row) for row in self.history]

    def on_fit_start(self, trainer, task):
        # A resumed training that had already run out of patience does not start again.
        if self.explained and len(self.explained) - 1 - self.best_epoch >= self.patience:
            trainer.should_stop = True


class _Progress(Callback):
    """One bar over the epochs with the time left; silent where nobody looks (no terminal)."""

    def on_train_start(self, trainer, task):
        self.bar = tqdm(
            total=trainer.max_epochs,
            initial=trainer.current_epoch,
            desc="training",
            unit="epoch",
            leave=False,
            disable=not sys.stderr.isatty(),
        )

    def on_train_epoch_end(self, trainer, task):
        self.bar.update()

    def on_train_end(self, trainer, task):
        self.bar.close()


class _Rows(Dataset):
    """Maps of a cohort by row, a batch at a time."""

    def __init__(self, volumes: Volumes, index: np.ndarray):
        self.volumes, self.index = volumes, index

    def __len__(self):
        return len(self.index)

    def __getitems__(self, places):
        return torch.from_numpy(self.volumes.rows(self.index[places]))


class _EpochOrder(Sampler):
    """A new order every epoch that depends on the seed and the epoch alone; Lightning says which epoch it is."""

    def __init__(self, n: int, seed: int):
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.n

    def __iter__(self):
        return iter(np.random.default_rng((self.seed, self.epoch, 0xC0FFEE)).permutation(self.n).tolist())


def _loader(volumes: Volumes, index: np.ndarray, batch_size: int, seed: int | None) -> DataLoader:
    order = _EpochOrder(len(index), seed) if seed is not None else None
    return DataLoader(_Rows(volumes, index), batch_size=batch_size, sampler=order, collate_fn=_as_is)


def _as_is(batch):
    return batch


def _fingerprint(plan, seed, epochs, train_index, valid_index, volumes, linear) -> str:
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
def _quiet():
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
