"""What Lightning runs: the loss of a step, what is kept of an epoch, when to stop."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from bids_app.model.network import MapNetwork
from bids_app.model.plan import Plan

STORED = ("history", "explained", "best", "best_epoch", "example", "reconstructions")


class Task(pl.LightningModule):
    """The loss; half the maps of a training batch are mirrored where the linear path finds symmetry."""

    mirror: torch.Tensor | None

    def __init__(self, network: MapNetwork, mirror: np.ndarray | None, plan: Plan, seed: int) -> None:
        super().__init__()
        self.network, self.plan, self.seed = network, plan, seed
        self.register_buffer("mirror", None if mirror is None else torch.from_numpy(mirror), persistent=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        p = self.plan
        return torch.optim.AdamW(self.network.parameters(), lr=p.learning_rate, weight_decay=p.weight_decay, fused=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        # By hand: Lightning clips for no fused optimiser in mixed precision. bfloat16 needs no scaling to undo.
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)

    def on_after_batch_transfer(self, batch: torch.Tensor, dataloader_idx: int) -> torch.Tensor:
        return batch.float()  # as they lie on disk, half as many bytes go to the device

    def training_step(self, x: torch.Tensor, step: int) -> dict[str, Any]:
        if self.mirror is not None:
            # Drawn for the batch of all processes, of which each takes its own, as the sampler deals them out.
            rng = np.random.default_rng((self.seed, self.current_epoch, step))
            chosen = (rng.random((len(x) * self.trainer.world_size, 1)) < 0.5)[
                self.global_rank :: self.trainer.world_size
            ]
            x = torch.where(torch.from_numpy(chosen).to(x.device), x[:, self.mirror], x)
        loss = mse_loss(self.network(x), x) / self.network.data_scale**2
        return {"loss": loss, "n": len(x)}

    def validation_step(self, x: torch.Tensor, step: int) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            left = ((self.network(x) - x) ** 2).sum(1)
            return 1 - left / ((x - self.network.mean) ** 2).sum(1).clamp_min(1e-12)


def most_typical(explained: Sequence[float] | np.ndarray) -> int:
    """The place of the value nearest to the median."""
    return int(np.abs(np.asarray(explained) - np.median(explained)).argmin())


class Keeper(Callback):
    """Losses of every epoch, the best weights, and when to stop. The start (a linear path) is epoch 0, and can win.

    Also how one held-out map was reconstructed, after the epochs 0, 1, 2, 4, 8 ... and the best one.
    """

    def __init__(self, task: Task, held_out: DataLoader[torch.Tensor] | None) -> None:
        self.task, self.held_out = task, held_out
        self.history: list[tuple[int, float, float]] = []
        self.explained: list[list[float]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_epoch = 0
        self.example = -1  # its place among the held-out maps
        self.reconstructions: dict[int, torch.Tensor] = {}
        self._train: list[tuple[torch.Tensor, int]] = []
        self._valid: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, _task: pl.LightningModule) -> None:
        if not self.history:  # before any step
            with torch.inference_mode():
                batches = (x.to(self.task.device).float() for x in self.held_out or ())
                self._valid = [self.task.validation_step(x, i).cpu() for i, x in enumerate(batches)]
            self._close(0)
        self._train, self._valid = [], []

    def on_train_batch_end(
        self, trainer: pl.Trainer, _task: pl.LightningModule, outputs: Any, batch: torch.Tensor, step: int
    ) -> None:
        # Left where it was computed: reading it here would make the device wait.
        self._train.append((outputs["loss"].detach(), len(batch)))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        _task: pl.LightningModule,
        outputs: Any,
        batch: Any,
        step: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._valid.append(outputs.detach().cpu())

    def on_train_epoch_end(self, trainer: pl.Trainer, _task: pl.LightningModule) -> None:
        self._close(trainer.current_epoch + 1)
        # Every process has seen the same held-out maps; they stop together even if rounding told them apart.
        trainer.should_stop |= trainer.strategy.reduce_boolean_decision(self._out_of_patience, all=False)

    @property
    def _out_of_patience(self) -> bool:
        return bool(self.explained) and len(self.explained) - 1 - self.best_epoch >= self.task.plan.patience

    def _close(self, epoch: int) -> None:
        task = self.task
        train = valid = math.nan
        if self._train:
            losses, sizes = zip(*self._train, strict=True)
            mean = np.average(torch.stack(losses).double().cpu().numpy(), weights=sizes)
            train = float(task.trainer.strategy.reduce(torch.tensor(mean, device=task.device), reduce_op="mean"))
        if self._valid:
            self.explained.append(torch.cat(self._valid).double().tolist())
            valid = 1 - float(np.mean(self.explained[-1]))
            if epoch == 0 or valid < min(v for _, _, v in self.history):
                self.best_epoch = epoch
                self.best = {k: v.detach().cpu().clone() for k, v in task.network.state_dict().items()}
            self._reconstruct(epoch)
        self.history.append((epoch, train, valid))

    def _reconstruct(self, epoch: int) -> None:
        if epoch == 0:
            self.example = most_typical(self.explained[0])
        wanted = {self.best_epoch, 0, *(2**i for i in range(epoch.bit_length()))}
        self.reconstructions = {e: kept for e, kept in self.reconstructions.items() if e in wanted}
        if epoch in wanted and self.held_out is not None:
            with torch.no_grad():
                x = self.held_out.dataset[self.example][None].to(self.task.device).float()
                self.reconstructions[epoch] = self.task.network(x)[0].cpu()

    def state_dict(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in STORED}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            setattr(self, key, value)

    def on_fit_start(self, trainer: pl.Trainer, _task: pl.LightningModule) -> None:
        # A resumed training that had already run out of patience does not start again.
        trainer.should_stop |= self._out_of_patience


class Progress(Callback):
    """One bar over the epochs with the time left; silent where nobody looks (no terminal)."""

    def on_train_start(self, trainer: pl.Trainer, _task: pl.LightningModule) -> None:
        self.bar = tqdm(
            total=trainer.max_epochs,
            initial=trainer.current_epoch,
            desc="training",
            unit="epoch",
            leave=False,
            disable=not (sys.stderr.isatty() and trainer.is_global_zero),
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, _task: pl.LightningModule) -> None:
        self.bar.update()

    def on_train_end(self, trainer: pl.Trainer, _task: pl.LightningModule) -> None:
        self.bar.close()
