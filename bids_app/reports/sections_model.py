"""Sections of the group report: the model, and how strange it finds each brain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..bids.tables import IDENTIFIERS
from ..schema.architectures import Architecture
from ..schema.model_tables import CROSS_FIT, TRAINING
from ..schema.scan_tables import DEVIATIONS
from . import charts
from .group_results import GroupResults
from .items import Item, item
from .reconstructions import epochs_figure, error_figure, reconstruction_figure, traversal_figure
from .style import html_table, join_words, number, p_text


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


def strangeness(results: GroupResults) -> Iterator[Item]:
    """How large the error of each map is among people whom the model's folds did not see."""
    table = results.table(DEVIATIONS)
    if table is None or "error_p" not in table:
        return
    keys = [column for column in IDENTIFIERS if column in table]
    shown = table[[*keys, "error_p", "error_p_bound"]].sort_values("error_p", kind="stable")
    headers, formats = (
        {"error_p": "p", "error_p_bound": "guaranteed p"},
        dict.fromkeys(("error_p", "error_p_bound"), p_text),
    )
    yield item(
        "strangeness", html_table(shown, headers=headers, formats=formats, sortable=True, max_height=len(shown) > 14)
    )


def _compared(cross_fit: pd.DataFrame, architecture: Architecture) -> str:
    """How well the models describe unseen maps, in a sentence."""
    models = charts.compared_models(cross_fit, architecture)
    means = [(name, number(float(np.nanmean(values)))) for name, values in models.items() if name != "mean map"]
    if not means:
        return ""
    said = f"Explained share of the variance of unseen maps: {join_words([f'{n} {v}' for n, v in means])}."
    if architecture.label not in models:
        said += f" No fold's model was trained for any epoch: the model in use is the {architecture.start}."
    return f"<p>{said}</p>"
