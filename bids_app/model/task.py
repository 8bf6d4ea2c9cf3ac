"""What Lightning runs: the loss of a step, what is kept of an epoch, when to stop."""

from __future__ import annotations

import math
import sys

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from tqdm.auto import tqdm

from bids_app.model.network import ResidualAutoencoder
from bids_app.model.plan import Plan


class Task(pl.LightningModule):
    """The loss; half the maps of a training batch are mirrored where the linear path finds symmetry."""

    def __init__(self, network: ResidualAutoencoder, mirror: np.ndarray | None, plan: Plan, seed: int):
        super().__init__()
        self.network, self.plan, self.seed = network, plan, seed
        self.register_buffer("mirror", None if mirror is None else torch.from_numpy(mirror), persistent=False)

    def configure_optimizers(self):
        p = self.plan
        return torch.optim.AdamW(self.network.parameters(), lr=p.learning_rate, weight_decay=p.weight_decay, fused=True)

    def on_before_optimizer_step(self, optimizer):
        # By hand: Lightning clips for no fused optimiser in mixed precision. bfloat16 needs no scaling to undo.
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch.float()  # as they lie on disk, half as many bytes go to the device

    def training_step(self, x, step):
        if self.mirror is not None:
            # Drawn for the batch of all processes, of which each takes its own, as the sampler deals them out.
            rng = np.random.default_rng((self.seed, self.current_epoch, step))
            chosen = (rng.random((len(x) * self.trainer.world_size, 1)) < 0.5)[
                self.global_rank :: self.trainer.world_size
            ]
            x = torch.where(torch.from_numpy(chosen).to(x.device), x[:, self.mirror], x)
        loss = ((self.network(x) - x) ** 2).mean() / self.network.data_scale**2
        return {"loss": loss, "n": len(x)}

    def validation_step(self, x, step):
        with torch.autocast(x.device.type, enabled=False):
            left = ((self.network(x) - x) ** 2).sum(1)
            return 1 - left / ((x - self.network.mean) ** 2).sum(1).clamp_min(1e-12)


class Keeper(Callback):
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
                    self._valid = [
                        task.validation_step(x.to(task.device).float(), i).cpu() for i, x in enumerate(loader)
                    ]
                task.train()
            self._close(0, task)
        self._train, self._valid = [], []

    def on_train_batch_end(self, trainer, task, outputs, batch, step):
        # Left where it was computed: reading it here would make the device wait.
        self._train.append((outputs["loss"].detach(), len(batch)))

    def on_validation_batch_end(self, trainer, task, outputs, batch, step, dataloader_idx=0):
        self._valid.append(outputs.detach().cpu())

    def on_train_epoch_end(self, trainer, task):
        self._close(trainer.current_epoch + 1, task)
        out_of_patience = bool(self.explained) and trainer.current_epoch + 1 - self.best_epoch >= self.patience
        # Every process has seen the same held-out maps; they stop together even if rounding told them apart.
        trainer.should_stop |= trainer.strategy.reduce_boolean_decision(out_of_patience, all=False)

    def _close(self, epoch, task):
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


class Progress(Callback):
    """One bar over the epochs with the time left; silent where nobody looks (no terminal)."""

    def on_train_start(self, trainer, task):
        self.bar = tqdm(
            total=trainer.max_epochs,
            initial=trainer.current_epoch,
            desc="training",
            unit="epoch",
            leave=False,
            disable=not (sys.stderr.isatty() and trainer.is_global_zero),
        )

    def on_train_epoch_end(self, trainer, task):
        self.bar.update()

    def on_train_end(self, trainer, task):
        self.bar.close()
