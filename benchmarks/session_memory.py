"""The memory and the processor time of a run, as two benchmarks watch them."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path


class Watch(threading.Thread):
    """All processes of a session, looked at ten times a second: (time of it, resident bytes, processor seconds)."""

    def __init__(self, session: int):
        super().__init__(daemon=True)
        self.session, self.seen, self.over = session, list[tuple[float, int, float]](), threading.Event()
        self.start()

    def run(self) -> None:
        page, ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        while not self.over.wait(0.1):
            total, used = 0, 0
            for folder in Path("/proc").iterdir():
                # A process may end while it is looked at.
                with suppress(OSError, ValueError, IndexError):
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self.session:
                        total += page * int(fields[21])
                        used += sum(map(int, fields[11:15]))  # its own and that of children that have ended
            self.seen.append((time.perf_counter(), total, used / ticks))

    def stop(self) -> int:
        """End it; the most bytes that it has seen."""
        self.over.set()
        self.join()
        return max((size for _, size, _ in self.seen), default=0)
