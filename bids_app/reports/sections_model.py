"""Section of the group report: the model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..schema.architectures import Architecture
from ..schema.model_tables import CROSS_FIT, TRAINING
from . import charts
from .group_results import GroupResults
from .items import Item, item
from .reconstructions import epochs_figure, error_figure, reconstruction_figure, traversal_figure
from .style import join_words, number


def training(results: GroupResults) -> Iterator[Item]:
    """How the model learned, and how well it describes unseen maps beside simpler ones."""
    architecture = results.architecture
    table = results.table(TRAINING)
    if table is not None:
        yield item("loss", charts.training_figure(table), start=architecture.start)
    learning = epochs_figure(results)
    if learning is not None:
        yield item("learning", learning[0], before=learning[1], picture=True, start=architecture.start)
    table = results.table(CROSS_FIT)
    if table is not None:
        yield item("explained", charts.explained_figure(table, architecture), before=_compared(table, architecture))
    for key, make in (
        ("examples", reconstruction_figure),
        ("errorMaps", error_figure),
        ("traversals", traversal_figure),
    ):
        figure = make(results)
        if figure is not None:
            yield item(key, figure, picture=True)


def _compared(cross_fit: pd.DataFrame, architecture: Architecture) -> str:
    """How well the models describe unseen maps, in a sentence."""
    models = charts.compared_models(cross_fit, architecture)
    means = [(name, number(float(np.nanmean(values)))) for name, values in models.items() if name != "mean map"]
    if not means:
        return ""
    said = f"Share of the variance of unseen maps that is explained: {join_words([f'{n} {v}' for n, v in means])}."
    if architecture.label not in models:
        said += f" No fold's model was given an epoch of training: the model in use is the {architecture.start}."
    return f"<p>{said}</p>"
