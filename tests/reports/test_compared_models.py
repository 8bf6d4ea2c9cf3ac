"""The models that the page sets side by side: none is called what it is not."""

import numpy as np
import pandas as pd
import pytest

from bids_app.reports.charts import compared_models, explained_figure
from bids_app.reports.sections_model import _compared
from bids_app.schema.architectures import ARCHITECTURES


def cross_fit(epochs, auto=(0.3, 0.5)):
    return pd.DataFrame(
        {"fold": [0, 1], "n_test": [5, 5], "ev_autoencoder": auto, "ev_pca": [0.1, 0.2], "ev_linear": [0.2, 0.3],
         "epochs": epochs}
    )  # fmt: skip


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_a_network_without_an_epoch_is_not_shown(architecture):
    for epochs, shown in (([0, 0], False), ([0, 3], True)):
        table = cross_fit(epochs)
        models = compared_models(table, architecture)
        assert [*models][:3] == ["mean map", "PCA of the same size", "linear path"]
        assert (architecture.label in models) is shown
        text = _compared(table, architecture)
        assert (f"the model in use is the {architecture.start}" in text) is not shown
        assert ("autoencoder" in text) is (shown and "autoencoder" in architecture.label)
        ticks = [
            label.get_text().replace("\n", " ")
            for label in explained_figure(table, architecture).axes[0].get_xticklabels()
        ]
        assert ticks == [*models]


def test_numbers_are_those_of_the_table():
    text = _compared(cross_fit([2, 3]), ARCHITECTURES[0])
    assert "PCA of the same size 0.150, linear path 0.250 and linear path with convolutions 0.400" in text
    assert (compared_models(cross_fit([2, 3]), ARCHITECTURES[0])["mean map"] == 0).all()


def test_tables_of_earlier_versions_have_pca_and_the_network_alone():
    table = cross_fit([1, 1]).drop(columns=["ev_linear", "epochs"])
    assert [*compared_models(table, ARCHITECTURES[0])] == ["mean map", "PCA of the same size", ARCHITECTURES[0].label]
    assert np.isfinite(np.stack([*compared_models(table, ARCHITECTURES[0]).values()])).all()
