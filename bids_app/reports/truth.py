"""How the ranking of regions compares with the regions that a simulated cohort really has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..schema.region_tables import LRCP_REGIONS
from .charts import truth_figure
from .group_results import GroupResults, numeric, read_shown
from .items import Item, item
from .style import esc, html_table, join_words, number


def planted_regions(truth: pd.DataFrame) -> dict[int, bool]:
    """Atlas label -> whether any group has a planted change there.

    Parameters
    ----------
    truth : DataFrame
        ``ground_truth.tsv``: ``index``, ``name``, and the planted relative volume change in one column per group, or in
        one column with the group in another.
    """
    planted = [c for c in truth if c not in ("index", "name") and not str(c).startswith("realised")]
    changes = truth[planted].apply(pd.to_numeric, errors="coerce").abs().max(axis=1) > 0
    return changes.groupby(truth["index"].astype(int)).any().to_dict()


def truth_sections(results: GroupResults, path: Path | None) -> Iterator[Item]:
    """Comparison with the planted truth, for every contrast; nothing where the dataset is no simulated one."""
    table = results.table(LRCP_REGIONS)
    if path is None or not path.exists() or table is None:
        return
    planted = planted_regions(read_shown(path))
    for i, contrast in enumerate(results.contrasts()):
        part = table[table["contrast"].astype(str) == contrast].copy()
        for column in ("lrcp", "g"):
            part[column] = np.nan_to_num(numeric(part, column))
        part = part.sort_values("lrcp", ascending=False)
        hit = np.array([planted.get(int(index), False) for index in part["index"]])
        k = int(hit.sum())
        if not 0 < k < hit.size:
            continue
        n = results.n_of(part)
        figure = truth_figure(hit, f"{hit.size} regions, {k} planted, n = {n} scans")
        yield item("truth", figure, number=i, before=_said(part, hit, k), contrast=contrast)
        top = part.head(min(k, 15))
        planted_too = np.where(hit[: len(top)], "yes", "no")
        ranks = pd.DataFrame({"rank": range(1, len(top) + 1), "region": top["name"], "LRCP (ml)": top["lrcp"]})
        ranks["label"] = top["label"].to_numpy()
        yield Item(f"truthTable{i}", html_table(ranks.assign(planted=planted_too), caption="Highest ranks"))


def _said(part: pd.DataFrame, hit: np.ndarray, k: int) -> str:
    """The comparison in words (HTML)."""
    auroc, plain = (float(roc_auc_score(hit, part[column].abs())) for column in ("lrcp", "g"))
    found = int(hit[:k].sum())
    grade = "finds most of" if auroc > 0.8 else "finds some of" if auroc > 0.65 else "hardly finds"
    missed = [str(name) for name, is_hit in zip(part["name"][k:], hit[k:], strict=True) if is_hit]
    labels = part["label"][hit].value_counts()
    text = (
        f"<p>This cohort is simulated, so the truth is known. LRCP {grade} the {k} regions with planted change. Of "
        f"the {k} regions that it ranks highest, <strong>{found}</strong> are planted, where guessing would "
        f"give {number(k * k / hit.size, 2)}. A planted region ranks above another one with probability "
        f"<strong>{auroc:.2f}</strong> (AUROC; 0.5 is guessing); by the plain difference (Hedges' g), with "
        f"{plain:.2f}. Labels of the planted regions: "
        f"{esc(join_words([f'{count} {label}' for label, count in labels.items()]))}."
    )
    if missed:
        text += f" Not among the first {k}: {esc(join_words(missed[:8]))}{' and others' if len(missed) > 8 else ''}."
    return text + "</p>"
