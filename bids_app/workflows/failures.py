"""How a failed step leaves word of itself."""

from __future__ import annotations

import json
from pathlib import Path

FAILURE_FILE = "failure.json"


def record_failure(folder: Path, error: Exception) -> None:
    """Leave word of a failed step in its folder, where :func:`.execute.execute` finds it whatever the plugin."""
    kind = "" if hasattr(error, "exit_code") else f"{type(error).__name__}: "
    (folder / FAILURE_FILE).write_text(json.dumps({"message": f"{kind}{error}"}))
