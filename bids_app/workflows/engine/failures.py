"""How a failed step leaves word of itself."""

from __future__ import annotations

import errno
import json
import shutil
from contextlib import suppress
from pathlib import Path

FAILURE_FILE = "failure.json"
LITTLE_SPACE = 50_000_000  # bytes; the steps of one scan need more


def record_failure(folder: Path, error: Exception) -> None:
    """Leave word of a failed step in its folder, where :func:`.execute.execute` finds it whatever the plugin.

    A disk without room for a single line gets an empty file, which :func:`read_failure` understands.
    """
    kind = "" if hasattr(error, "exit_code") else f"{type(error).__name__}: "
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    with suppress(OSError):
        (folder / FAILURE_FILE).write_text(json.dumps({"message": _explained(folder, f"{kind}{error}", full)}))


def read_failure(file: Path) -> str:
    """The message that a failed step left in ``file``, or could not write whole."""
    try:
        return str(json.loads(file.read_text())["message"])
    except ValueError:
        return _explained(file.parent, "the step could not write down why it failed", full=True)


def _explained(folder: Path, message: str, full: bool) -> str:
    """The message with what to do about a full disk: libraries have many words for it, and most do not name it."""
    free = shutil.disk_usage(folder).free
    cause = message.partition("\n")[0]  # without the remedy, which is another
    if free < LITTLE_SPACE:
        return (
            f"there is no space left in the work folder ({free / 1e6:.0f} MB; {cause})\n  file: {folder}\n"
            "  what to do: make room, or choose another work folder with -w; what is finished is kept"
        )
    if full:
        return (
            f"there was no space left on a disk ({cause})\n  file: {folder}\n"
            "  what to do: make room for the output and the work folder, then run the same command again; what is "
            "finished is kept"
        )
    return message
