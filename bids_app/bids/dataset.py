"""The dataset-level files of the output: description, ignore list, vocabulary, participants, logs.

Several jobs may start into one empty output together: every file here depends only on the input and the version of the
program, so whoever comes first writes what the others would have written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ConfigError, DatasetError, OutputError
from ..schema.outputs import (
    BIDSIGNORE,
    DESC_LABELS,
    DESCRIPTION,
    FIGURES,
    GROUP,
    LOGS,
    METHODS_TEXT,
    README,
    SCAN_FILES,
)
from .files import write_json, write_text

BIDS_VERSION = "1.10.0"

#: What the BIDS schema has no place for. ``figures`` and ``group`` without a slash: the validator forgets the others.
IGNORED = ("*.html", FIGURES, f"{LOGS}/", GROUP, "*_xfm.h5", "*.npy", "code/")

#: Label of a file's name -> what it means.
DESCRIPTIONS = {
    part: file.description for file in SCAN_FILES.values() for part in file.stem.split("_") if part.startswith("desc-")
}

README_TEXT = """\
LatentAtlas derivatives
=======================

Modulated grey-matter maps (sub-*/), a latent space learnt from them, and verdicts on claims about it (group/,
phenotype/). Open sub-*.html and group.html in a browser; logs/CITATION.md says how the data were made and what to cite.
"""


def check_output(bids_dir: Path, output_dir: Path) -> None:
    """Refuse an output that would write into its own input, or that cannot be written.

    Raises
    ------
    ConfigError
        The output is the input, or lies inside it anywhere but under ``derivatives/``.
    OutputError
        The output cannot be created or written.
    """
    source, target = bids_dir.resolve(), output_dir.resolve()
    inside = source in target.parents
    if source == target or (inside and (source / "derivatives") not in target.parents):
        raise ConfigError(
            "the output folder is the BIDS dataset itself" if source == target else
            "the output folder lies inside the BIDS dataset",
            file=output_dir,
            remedy=f"write to {bids_dir / 'derivatives' / 'latentatlas'} or to a folder outside the dataset",
        )  # fmt: skip
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        writable = os.access(output_dir, os.W_OK | os.X_OK)
    except OSError as error:
        raise OutputError(
            f"the output folder cannot be created ({error.strerror})",
            file=output_dir,
            remedy="choose another folder, or change the permissions of the folder above it",
        ) from None
    if not writable:
        raise OutputError(
            "the output folder cannot be written", file=output_dir, remedy="change its permissions, or choose another"
        )


def check_work(bids_dir: Path, work_dir: Path) -> None:
    """Refuse a work folder inside the input dataset.

    Raises
    ------
    ConfigError
        It lies there, anywhere but under ``derivatives/``.
    """
    source, work = bids_dir.resolve(), work_dir.resolve()
    if (source == work or source in work.parents) and source / "derivatives" not in work.parents:
        raise ConfigError(
            "the work folder lies inside the BIDS dataset",
            file=work_dir,
            remedy="choose a folder outside the dataset with -w (the default is 'work' in the current folder)",
        )


def write_dataset_files(bids_dir: Path, output_dir: Path, source: dict[str, Any]) -> None:
    """Write what makes the output a BIDS derivative dataset of its own.

    Parameters
    ----------
    bids_dir, output_dir : Path
    source : dict
        The description of the input dataset.

    Raises
    ------
    DatasetError
        The output already belongs to another input dataset.
    """
    description = _description(source, Path(os.path.relpath(bids_dir.resolve(), output_dir.resolve())).as_posix())
    file = DESCRIPTION.at(output_dir)
    if file.exists():
        try:
            there = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise DatasetError(
                f"the output's description is not readable JSON ({error})",
                file=file,
                remedy="repair or remove that file",
            ) from None
        # By name and not by path: a container sees the same dataset under another path.
        name = there.get("Name") if isinstance(there, dict) else None
        if name != description["Name"]:
            raise DatasetError(
                f"the output folder already holds another dataset: {name or 'without a name'}",
                file=file,
                remedy="choose another output folder; if it is the same dataset under a new name, write the Name "
                f"'{description['Name']}' into that file",
            )
    else:
        write_json(file, description)
    for name, text in {
        BIDSIGNORE.name: "\n".join(IGNORED) + "\n",
        README.name: README_TEXT,
        DESC_LABELS.name: "desc_id\tdescription\n" + "".join(f"{k}\t{v}\n" for k, v in DESCRIPTIONS.items()),
    }.items():
        if not (output_dir / name).exists():
            write_text(output_dir / name, text)


def _description(source: dict[str, Any], link: str) -> dict[str, Any]:
    generated: dict[str, Any] = {"Name": "LatentAtlas", "Version": __version__}
    if tag := os.environ.get("LATENTATLAS_CONTAINER"):
        kind, _, image = tag.partition(":")
        generated["Container"] = {"Type": kind, "Tag": image}
    origin = {"URL": link}
    if source.get("DatasetDOI"):
        origin["DOI"] = source["DatasetDOI"]
    description = {
        "Name": f"LatentAtlas derivatives of {source.get('Name', 'a BIDS dataset')}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated],
        "DatasetLinks": {"raw": link},
        "SourceDatasets": [origin],
        "HowToAcknowledge": f"See {METHODS_TEXT.path}",
    }
    if source.get("License"):
        description["License"] = source["License"]
    return description
