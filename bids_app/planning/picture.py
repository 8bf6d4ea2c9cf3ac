"""The picture of a planned study."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bids_app.planning.bank import Scenario
from bids_app.planning.power import TITLES


def draw_power(table: pd.DataFrame, scenario: Scenario, studies: int) -> Figure:
    """Power of each claim and grade with its 95 % interval, and the usual 80 %.

    Parameters
    ----------
    table : DataFrame
        Of `power.summarise_power`.
    scenario : Scenario
    studies : int
        Simulated studies behind it.
    """
    figure = Figure(figsize=(7.2, 3.0))
    axes = figure.subplots()
    rows = range(len(table))
    for shift, name, colour in ((-0.12, "supported", "#0072b2"), (0.12, "worst_case", "#d55e00")):
        share, error = table[name], 1.96 * table[f"{name}_se"]
        bars = [share - (share - error).clip(lower=0), (share + error).clip(upper=1) - share]
        places = [row + shift for row in rows]
        axes.errorbar(share, places, xerr=bars, fmt="o", color=colour, ms=6, lw=1.6, label=name.replace("_", " "))
    axes.axvline(0.8, color="#7b8794", lw=0.8, ls=":")
    axes.set_yticks(rows, [TITLES[claim] for claim in table["claim_id"]])
    groups = " + ".join(map(str, scenario.sizes))
    axes.set(xlim=(-0.02, 1.02), ylim=(len(table) - 0.5, -0.5))
    axes.set_xlabel("share of studies in which the claim is supported")
    axes.set_title(
        f"{groups} participants, {scenario.effect_sd:g} SD ({scenario.pattern}), {studies} simulated studies"
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure
