"""The memory of a run, as two benchmarks watch it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path


class Watch(threading.Thread):
    """Resident memory of all processes of a session, looked at ten times a second, with the time of each look."""

    def __init__(self, session: int):
        super().__init__(daemon=True)
        self.session, self.seen, self.over = session, list[tuple[float, int]](), threading.Event()
        self.start()

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self.over.wait(0.1):
            total = 0
            for folder in Path("/proc").iterdir():
                # A process may end while it is looked at.
                with suppress(OSError, ValueError, IndexError):
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    total += page * int(fields[21]) if int(fields[3]) == self.session else 0
            self.seen.append((time.perf_counter(), total))

    def stop(self) -> int:
        """End it; the most bytes that it has seen."""
        self.over.set()
        self.join()
        return max((size for _, size in self.seen), default=0)
