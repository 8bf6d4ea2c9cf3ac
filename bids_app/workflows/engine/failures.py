"""How a failed step leaves word of itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

FAILURE_FILE = "failure.json"
LITTLE_SPACE = 50_000_000  # bytes; the steps of one scan need more


def record_failure(folder: Path, error: Exception) -> None:
    """Leave word of a failed step in its folder, where :func:`.execute.execute` finds it whatever the plugin."""
    kind = "" if hasattr(error, "exit_code") else f"{type(error).__name__}: "
    message = f"{kind}{error}"
    free = shutil.disk_usage(folder).free
    if free < LITTLE_SPACE:
        # Libraries have many words for a full disk, and most of them do not name it.
        message = (
            f"there is no space left in the work folder ({free / 1e6:.0f} MB; {message})\n  file: {folder}\n"
            "  what to do: make room, or choose another work folder with -w; what is finished is kept"
        )
    (folder / FAILURE_FILE).write_text(json.dumps({"message": message}))
