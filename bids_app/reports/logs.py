"""Methods text and error records, as they lie in the output folder, as HTML."""

from __future__ import annotations

import re
from pathlib import Path

from ..schema.outputs import METHODS_HTML, METHODS_TEXT
from .style import esc

_BODY = re.compile(r"<body[^>]*>(.*?)</body>", re.S | re.I)
MOST_ERRORS = 20


def methods_html(output_dir: Path) -> str:
    """The body of ``logs/CITATION.html``, or a sentence saying that it is not there yet."""
    path = METHODS_HTML.at(Path(output_dir))
    if not path.exists():
        return f"<p>The methods text (<code>{METHODS_TEXT.path}</code>) has not been written yet.</p>"
    body = _BODY.search(path.read_text(encoding="utf-8"))
    return (
        '<p class="caption">This text describes exactly this run. You may copy it into a manuscript unchanged (CC0). '
        "It is also available as Markdown, LaTeX and with BibTeX entries in <code>logs/</code>.</p><div "
        f'class="methods">{body.group(1) if body else ""}</div>'
    )


def errors_html(output_dir: Path, participant_label: str | None = None) -> str:
    """Crash records of the participant (or of everything outside the participants) as HTML, every word escaped.

    Looks for Nipype's ``crash*.txt`` and for ``*error*.txt`` in ``sub-X/`` and ``logs/``.
    """
    output_dir = Path(output_dir)
    if participant_label is None:
        found = [*output_dir.glob("logs/**/crash*.txt"), *output_dir.glob("sub-*/log*/**/crash*.txt")]
    else:
        label = f"sub-{participant_label}"
        found = [*(output_dir / label).glob("log*/**/crash*.txt"), *output_dir.glob(f"logs/**/crash*{label}*.txt")]
    found = sorted(set(found))
    if not found:
        return "<p>No errors were recorded.</p>"
    parts = [f'<p class="note">{len(found)} step{"s" if len(found) > 1 else ""} failed.</p>']
    for path in found[:MOST_ERRORS]:
        text = path.read_text(encoding="utf-8", errors="replace")
        parts.append(
            f"<details><summary><code>{esc(path.relative_to(output_dir))}</code></summary><pre>{esc(text)}</pre></details>"
        )
    if len(found) > MOST_ERRORS:
        parts.append(f"<p>{len(found) - MOST_ERRORS} more are in the same folder.</p>")
    return "\n".join(parts)
