"""Errors that a user can mend.

Every one of them says three things: what is wrong, in which file, and what to do about it. The command line prints
that message without a traceback and leaves with the error's ``exit_code``; anything else that is raised is a defect
of the program and keeps its traceback.
"""

from __future__ import annotations

from os import PathLike
from typing import Any


class LatentAtlasError(Exception):
    """Base of all errors that a user can mend.

    Parameters
    ----------
    problem : str
        What is wrong, in a neuroscientist's words.
    file : path-like, optional
        The file or folder in which it is wrong.
    remedy : str, optional
        What to do about it.
    """

    exit_code = 1

    def __init__(self, problem: str, *, file: str | PathLike[str] | None = None, remedy: str | None = None):
        self.problem, self.file, self.remedy = problem, file, remedy
        super().__init__(problem, file, remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default pickling between worker processes.
        return _rebuild, (type(self), self.problem, self.file, self.remedy)

    def __str__(self) -> str:
        lines = [self.problem]
        if self.file is not None:
            lines.append(f"  file: {self.file}")
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        return "\n".join(lines)


def one_line(error: BaseException) -> str:
    """Kind and words of another library's error in one line; nibabel and others break theirs."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _rebuild(
    kind: type[LatentAtlasError], problem: str, file: str | PathLike[str] | None, remedy: str | None
) -> LatentAtlasError:
    return kind(problem, file=file, remedy=remedy)


class UsageError(LatentAtlasError):
    """The command line does not make sense."""

    exit_code = 2


class DatasetError(LatentAtlasError):
    """The dataset or one of its tables is not what the analysis needs (sysexits EX_DATAERR)."""

    exit_code = 65


class NoInputError(LatentAtlasError):
    """Nothing there to work on (sysexits EX_NOINPUT)."""

    exit_code = 66


class UnavailableError(LatentAtlasError):
    """A template or an atlas is neither bundled, nor cached, nor within reach (sysexits EX_UNAVAILABLE)."""

    exit_code = 69


class OutputError(LatentAtlasError):
    """The output cannot be written (sysexits EX_CANTCREAT)."""

    exit_code = 73


class ConfigError(LatentAtlasError):
    """A configuration file or the combination of options is wrong (sysexits EX_CONFIG)."""

    exit_code = 78


class ScanError(LatentAtlasError):
    """One scan cannot be processed; the others go on."""

    exit_code = 1


class ModelError(LatentAtlasError):
    """A model folder is damaged, or does not fit the maps it is asked to encode (sysexits EX_DATAERR)."""

    exit_code = 65
