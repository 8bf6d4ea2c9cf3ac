"""Filter files as fMRIPrep has them: ``{"t1w": {"acquisition": "mprage"}}``."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..delimited import decode
from ..errors import DatasetError, LatentAtlasError, NoInputError

#: Queries of fMRIPrep and its kin, which one filter file may serve together with this program.
_QUERIES = ("t1w", "t2w", "flair", "bold", "sbref", "fmap", "roi", "dwi", "asl", "m0scan", "pet", "anat")
#: Name of an entity in a filter -> what else it goes by.
_ENTITIES = {
    "subject": "sub", "session": "ses", "task": "task", "acquisition": "acq", "ceagent": "ce", "reconstruction": "rec",
    "run": "run", "echo": "echo", "part": "part", "chunk": "chunk",
}  # fmt: skip
_NAMES = {key: name for name, key in _ENTITIES.items()} | {name: name for name in _ENTITIES}
_ANY, _NONE, _OPTIONAL = object(), object(), object()
_WORDS = {
    "Query.ANY": _ANY, "Query.REQUIRED": _ANY, "*": _ANY, "Query.NONE": _NONE, None: _NONE, "Query.OPTIONAL": _OPTIONAL
}  # fmt: skip
#: Always so of the images that are asked for; a filter may say it, too.
_GIVEN = {
    "datatype": ("anat",),
    "suffix": ("T1w",),
    "extension": (".nii", ".nii.gz", "nii", "nii.gz"),
    "scope": ("raw",),
}
_REMEDY = 'write JSON such as {"t1w": {"acquisition": "mprage"}}'


@dataclass(frozen=True)
class Filters:
    """What a filter file asks of a T1w image.

    Attributes
    ----------
    wanted : mapping
        Entity -> values, one of which it has to have.
    regex : bool
        Values are regular expressions, found anywhere in a label.
    """

    wanted: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    regex: bool = False

    @property
    def named(self) -> frozenset[str]:
        """The entities that the file decides about."""
        return frozenset(self.wanted)

    @property
    def places(self) -> Filters:
        """What the file asks of folders: of participants and sessions."""
        return replace(self, wanted={k: v for k, v in self.wanted.items() if k in ("subject", "session")})

    def take(self, facts: Mapping[str, str]) -> bool:
        """Whether an image with these entities is asked for."""
        return all(any(self._fits(facts.get(name), v) for v in values) for name, values in self.wanted.items())

    def _fits(self, label: str | None, value: Any) -> bool:
        if value is _OPTIONAL:
            return True
        if value is _NONE or value is _ANY:
            return (label is None) == (value is _NONE)
        if label is None:
            return False
        if self.regex:
            return re.search(value, label, re.IGNORECASE) is not None
        return label == value or (label.isdecimal() and value.isdecimal() and int(label) == int(value))


def read_filters(file: Path | None) -> Filters:
    """Read a filter file; no file asks for everything.

    Entities go by their long (``acquisition``) or short (``acq``) names, labels with or without them. ``null`` asks for
    images without the entity, ``"*"`` for any value, as in fMRIPrep.

    Raises
    ------
    NoInputError, DatasetError
        There is no such file, it is no JSON, or it holds a name or a value that means nothing.
    """
    if file is None:
        return Filters()
    try:
        content = json.loads(decode(file))
    except NoInputError:
        raise NoInputError(
            "the BIDS filter file does not exist", file=file, remedy="check the path after --bids-filter-file"
        ) from None
    except (LatentAtlasError, ValueError, RecursionError) as error:
        problem = f"the BIDS filter file is not readable ({str(error).splitlines()[0]})"
        raise DatasetError(problem, file=file, remedy=_REMEDY) from None
    if not isinstance(content, dict):
        raise DatasetError("the BIDS filter file is not a JSON object", file=file, remedy=_REMEDY)
    for query in content:
        if query not in _QUERIES:
            raise _unknown("query", query, _QUERIES, file)
    chosen = content.get("t1w", {})
    if not isinstance(chosen, dict):
        raise DatasetError("the filters for t1w are not a JSON object", file=file, remedy=_REMEDY)
    regex = chosen.get("regex_search", False)
    if not isinstance(regex, bool):
        raise DatasetError("regex_search is neither true nor false", file=file, remedy="write true or false, unquoted")
    wanted = {}
    for key, value in chosen.items():
        if key == "regex_search":
            continue
        values = tuple(value) if isinstance(value, list) else (value,)
        if key in _GIVEN:
            if not {str(v) for v in values} & set(_GIVEN[key]):
                raise DatasetError(
                    f"only T1w images are used, not {key} '{value}'", file=file, remedy="remove that filter"
                )
            continue
        if key not in _NAMES:
            raise _unknown("entity", key, (*_ENTITIES, *_GIVEN), file)
        wanted[_NAMES[key]] = tuple(_value(v, key, regex, file) for v in values)
    return Filters(wanted, regex)


def _value(value: Any, key: str, regex: bool, file: Path) -> Any:
    if value is None or (isinstance(value, str) and value in _WORDS):
        return _WORDS[value]
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        problem = f"the filter '{key}' is neither a label nor a list of labels: {json.dumps(value)}"
        raise DatasetError(problem, file=file, remedy=_REMEDY)
    text = str(value)
    if regex:
        try:
            re.compile(text)
        except re.error as error:
            raise DatasetError(
                f"'{text}' is not a regular expression ({error})",
                file=file,
                remedy="correct it, or remove regex_search",
            ) from None
        return text
    return text.removeprefix(f"{_ENTITIES[_NAMES[key]]}-")


def _unknown(what: str, name: str, known: tuple[str, ...], file: Path) -> DatasetError:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return DatasetError(
        f"the BIDS filter file has an unknown {what}: '{name}'",
        file=file,
        remedy=f"{hint}known names: {', '.join(known)}",
    )
