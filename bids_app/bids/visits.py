"""The order in which a participant's scans were made."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

_FIRST = re.compile(r"(ses-)?0*(bl|base|baseline|scr|screening|sc|pre)$", re.IGNORECASE)


def order_visits(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Rows put in an order in which every participant's scans follow each other as they were made.

    Of a participant with several scans the first of these decides that all of them have and in which any two differ:

    1. ``acq_time``, the date that BIDS has for a session (``sub-*_sessions.tsv``);
    2. ``age``;
    3. the session's label: ``bl``, ``baseline``, ``screening`` and ``pre`` come first, numbers count as numbers (2
       before 10), letters by the alphabet.

    What is still equal (two runs of one session, scans without session) stays in the order given.

    Parameters
    ----------
    table : DataFrame, N rows
        ``participant_id``, and what there is of ``session_id``, ``acq_time``, ``age`` (whatever their case).

    Returns
    -------
    order : ndarray of shape (N,), int
        Row numbers; participants stay in the order of their first row.
    basis : str
        What the order of the participants with several scans rests on, in words; empty where there are none.
    """
    columns = {str(name).lower(): name for name in reversed(list(table.columns))}
    keys: dict[str, pd.Series] = {}
    if "acq_time" in columns:
        text = table[columns["acq_time"]].astype("string")
        when = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        keys["acquisition time"] = pd.Series(when, index=table.index)
    if "age" in columns:
        keys["age"] = pd.to_numeric(table[columns["age"]], errors="coerce")
    labels = table["session_id"] if "session_id" in table else pd.Series([None] * len(table), index=table.index)
    order, counts = [], dict[str, int]()
    for _, places in pd.Series(np.arange(len(table))).groupby(table["participant_id"].to_numpy(), sort=False):
        name, sorted_places = _sort(places.to_numpy(), keys, labels)
        order += sorted_places
        if name:
            counts[name] = counts.get(name, 0) + 1
    return np.array(order, int), ", ".join(f"{k} ({n} participant{'s' * (n > 1)})" for k, n in counts.items())


def _sort(places: np.ndarray, keys: dict[str, pd.Series], labels: pd.Series) -> tuple[str, list[int]]:
    if len(places) == 1:
        return "", [int(places[0])]
    by_label = sorted((int(place) for place in places), key=lambda place: _natural(labels.iloc[place]))
    for name, values in keys.items():
        mine = values.iloc[by_label]
        if mine.notna().all() and mine.nunique() > 1:
            # Equal ones stay in the order of their labels.
            return name, [by_label[i] for i in np.argsort(mine.to_numpy(), kind="stable")]
    return "session label", by_label


def _natural(label: object) -> tuple[Any, ...]:
    if not isinstance(label, str):
        return (0,)
    parts = tuple((1, int(part), "") if part.isdigit() else (0, 0, part.lower()) for part in re.split(r"(\d+)", label))
    return (0 if _FIRST.match(label) else 1, *parts)
