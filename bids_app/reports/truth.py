"""How the ranking of regions compares with the regions that a simulated cohort really has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from .charts import truth_figure
from .group_results import GroupResults, numeric, read_tsv
from .group_sections import Item, words
from .style import esc, html_table, join_words, number


def planted_regions(truth: pd.DataFrame) -> dict[int, bool]:
    """Atlas label -> whether any group has a planted change there.

    Parameters
    ----------
    truth : DataFrame
        ``ground_truth.tsv``: ``index``, ``name``, and the planted relative volume change in one column a group, or in one
        column with the group in another.
    """
    changes = truth.drop(columns=["index", "name"]).apply(pd.to_numeric, errors="coerce").abs().max(axis=1) > 0
    return changes.groupby(truth["index"].astype(int)).any().to_dict()


def truth_sections(results: GroupResults, path: Path | None) -> Iterator[Item]:
    """Comparison with the planted truth, for every contrast; nothing where the data set is no simulated one."""
    table = results.table("lrcp_regions")
    if path is None or not path.exists() or table is None:
        return
    planted = planted_regions(read_tsv(path))
    for i, contrast in enumerate(results.contrasts()):
        part = table[table["contrast"].astype(str) == contrast].copy()
        part["lrcp"] = np.nan_to_num(numeric(part, "lrcp"))
        part = part.sort_values("lrcp", ascending=False)
        hit = np.array([planted.get(int(index), False) for index in part["index"]])
        k = int(hit.sum())
        if not 0 < k < hit.size:
            continue
        auroc = float(roc_auc_score(hit, part["lrcp"]))
        found = int(hit[:k].sum())
        grade = "finds most of" if auroc > 0.8 else "finds some of" if auroc > 0.65 else "hardly finds"
        missed = [str(name) for name, is_hit in zip(part["name"][k:], hit[k:], strict=True) if is_hit]
        said = (
            f"<p>This cohort is simulated, so the truth is known. LRCP {grade} the {k} regions with planted change: of the {k} "
            f"regions it ranks highest, <strong>{found}</strong> are planted, where guessing would give {number(k * k / hit.size, 2)}; "
            f"a planted region ranks above another one with probability <strong>{auroc:.2f}</strong> (AUROC; 0.5 is guessing)."
            + (
                f" Not among the first {k}: {esc(join_words(missed[:8]))}{' and others' if len(missed) > 8 else ''}.</p>"
                if missed
                else "</p>"
            )
        )
        yield Item(
            f"truth{i}",
            truth_figure(hit, f"{contrast}: {hit.size} regions, {k} planted, n = {results.n_scans}"),
            contrast,
            said
            + words(
                "planted regions found while walking down the list of LRCP.",
                "the steeper the blue line climbs at the left, the better; the thin vertical line is the number of planted regions.",
                "regions beside a planted one may rank high because smoothing and registration spill over; that is an error here, but no mystery.",
            ),
            f"Planted regions among the top ranks for {contrast}",
        )
        top = pd.DataFrame(
            {
                "rank": np.arange(1, min(k, 15) + 1),
                "region": part["name"].to_numpy()[: min(k, 15)],
                "LRCP": part["lrcp"].to_numpy()[: min(k, 15)],
                "planted": np.where(hit[: min(k, 15)], "yes", "no"),
            }
        )
        yield Item(f"truthTable{i}", html_table(top, caption="The highest ranks"))
