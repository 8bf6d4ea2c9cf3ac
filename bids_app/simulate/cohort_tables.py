"""The dataset-level files of a synthetic cohort: description, participants, sessions, ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from .. import __version__
from ..bids.files import write_json, write_text
from ..errors import OutputError
from ..schema.outputs import DESCRIPTION, PARTICIPANTS, PARTICIPANTS_DICTIONARY, README
from .atrophy import AtrophyPlan
from .cohort import DIAGNOSES, GM_LOSS_PER_YEAR, Person

DICTIONARY = {
    "age": {"Description": "Age at the first session", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
    "diagnosis": {
        "Description": "Simulated diagnosis; the planted atrophy grows with it",
        "Levels": {
            "CN": "cognitively normal",
            "MCI": "mild cognitive impairment",
            "AD": "Alzheimer's disease",
        },
    },
    "mmse": {"Description": "Simulated mini-mental state examination at the first session, 0 to 30"},
    "site": {
        "Description": "Simulated site; sites differ in contrast and noise",
        "Levels": {"north": "brighter contrast, less noise", "south": "flatter contrast, more noise"},
    },
}
README_TEXT = """A synthetic cohort of T1-weighted head scans
============================================

Nobody was scanned. Each head is the ICBM 152 symmetric template (2009a), given an individual cortex, deformed by a
random diffeomorphism, scaled to an individual intracranial volume and rendered with contrast, partial volume, bias
field and Rician noise.

What was planted
----------------
In the regions listed in `code/ground_truth.tsv` grey matter contracts and cerebrospinal fluid takes the room, by a
relative volume that grows with the diagnosis: columns CN, MCI and AD are the planted relative changes of the group
(0 none, -0.25 a quarter lost), realised_CN, realised_MCI and realised_AD the mean changes measured in the heads made.
`code/ground_truth_participants.tsv` has every atlas region (AAL2) of every scan: planted and realised change, and the
true grey-matter volume in ml with and without the atrophy; `code/ground_truth_scans/` has the same scan by scan. Age
thins all grey matter by {loss} % a year; intracranial volume depends on sex. Age {confound}.

How it was made
---------------
latentatlas-simulate {version}; its settings are in `code/simulation.json`. The same settings and seed make the same
files.
"""


class Cohort(Protocol):
    """Description of a cohort's settings (``scan_dataset.SimulationSettings``)."""

    @property
    def sessions(self) -> int: ...

    @property
    def confound(self) -> bool: ...


def describe_dataset(out: Path, settings: Cohort, people: Sequence[Person]) -> None:
    """Write the description, the README and the tables of the participants."""
    confound = (
        "correlates with the diagnosis (a planted confound)" if settings.confound else "hardly depends on the diagnosis"
    )
    write_description(out, "A synthetic cohort with planted grey-matter atrophy", "raw")
    text = README_TEXT.format(loss=GM_LOSS_PER_YEAR, version=__version__, confound=confound)
    write_text(README.at(out), text)
    describe_people(out, settings, people)


def describe_people(out: Path, settings: Cohort, people: Sequence[Person]) -> None:
    """Write the participants' table and, with several sessions, each participant's sessions."""
    write_digits(participant_columns(people), PARTICIPANTS.at(out))
    write_json(PARTICIPANTS_DICTIONARY.at(out), DICTIONARY)
    if settings.sessions == 1:
        return
    for person in people:
        rows = [
            {"session_id": f"ses-{s + 1:02d}", "age": person.age_at(s), "mmse": person.mmse_at(s)}
            for s in range(settings.sessions)
        ]
        write_digits(pd.DataFrame(rows), out / f"sub-{person.label}/sub-{person.label}_sessions.tsv")
    write_json(
        out / "sessions.json",
        {
            "age": {"Description": "Age at the session", "Units": "year"},
            "mmse": {"Description": "Simulated mini-mental state examination at the session, 0 to 30"},
        },
    )


def write_description(out: Path, name: str, kind: str, **more: Any) -> None:
    """Write dataset_description.json."""
    write_json(
        DESCRIPTION.at(out),
        {
            "Name": name,
            "BIDSVersion": "1.10.0",
            "DatasetType": kind,
            "License": "CC0",
            "Authors": ["LatentAtlas simulation"],
            "GeneratedBy": [{"Name": "latentatlas-simulate", "Version": __version__}],
            **more,
        },
    )


def participant_columns(people: Sequence[Person]) -> pd.DataFrame:
    """The rows of participants.tsv."""
    columns = ("age", "sex", "diagnosis", "mmse", "site")
    return pd.DataFrame([{"participant_id": f"sub-{p.label}", **{c: getattr(p, c) for c in columns}} for p in people])


def ground_truth(plan: AtrophyPlan, planted: dict[str, np.ndarray], truth: pd.DataFrame) -> pd.DataFrame:
    """Planted and mean realised change of each planted region by diagnosis (first session).

    Parameters
    ----------
    plan : AtrophyPlan
    planted : dict
        Diagnosis -> array (R,) of relative changes.
    truth : DataFrame
        ``participant_id, [session_id,] diagnosis, index, realised, ...``

    Returns
    -------
    DataFrame
        ``index, name, CN, MCI, AD, realised_CN, realised_MCI, realised_AD``, the greatest loss in AD first; NaN where
        nobody has that diagnosis.
    """
    if "session_id" in truth:
        truth = truth[truth["session_id"] == truth["session_id"].min()]
    table = pd.DataFrame({"index": plan.index, "name": plan.names})
    for diagnosis in DIAGNOSES:
        table[diagnosis] = (planted[diagnosis] + 0.0).round(5)
    for diagnosis in DIAGNOSES:
        means = truth[truth["diagnosis"] == diagnosis].groupby("index")["realised"].mean()
        table[f"realised_{diagnosis}"] = means.reindex(plan.index).to_numpy().round(5)
    return table.sort_values("AD", kind="stable").reset_index(drop=True)


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing under ``out`` into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The output folder cannot be written: {error.strerror or error}.",
            file=error.filename or out,
            remedy="Check the permissions and the free space, or name another folder.",
        ) from error


def write_digits(table: pd.DataFrame, path: Path) -> None:
    """Write a TSV with every digit, missing values as n/a."""
    write_text(path, table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n"))
