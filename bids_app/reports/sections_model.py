"""Section of the group report: the model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from . import charts
from .group_results import GroupResults, numeric
from .items import Item, item
from .reconstructions import epochs_figure, error_figure, reconstruction_figure, traversal_figure
from .style import number


def training(results: GroupResults) -> Iterator[Item]:
    """How the model learned, and whether it beats PCA."""
    table = results.table("training")
    if table is not None:
        yield item("loss", charts.training_figure(table))
    learning = epochs_figure(results)
    if learning is not None:
        yield item("learning", learning[0], before=learning[1], picture=True)
    table = results.table("cross_fit")
    if table is not None:
        yield item("explained", charts.explained_figure(table), before=_compared(table))
    for key, make in (
        ("examples", reconstruction_figure),
        ("errorMaps", error_figure),
        ("traversals", traversal_figure),
    ):
        figure = make(results)
        if figure is not None:
            yield item(key, figure, picture=True)


def _compared(cross_fit: pd.DataFrame) -> str:
    """Autoencoder against PCA in a sentence."""
    auto, pca = (numeric(cross_fit, column) for column in ("ev_autoencoder", "ev_pca"))
    if not (np.isfinite(auto).any() and np.isfinite(pca).any()):
        return ""
    a, b = float(np.nanmean(auto)), float(np.nanmean(pca))
    better = "more than" if a > b + 0.005 else "less than" if a < b - 0.005 else "about as much as"
    return (
        f"<p>On maps that the models had not seen, the autoencoder explains {number(a)} of the variance, {better} PCA "
        f"of the same size ({number(b)}).</p>"
    )
