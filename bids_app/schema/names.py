"""How names of the data become parts of file names."""

from __future__ import annotations


def contrast_slug(name: str) -> str:
    """Name of a contrast that is safe in file and column names."""
    text = name.replace("<", "Lt").replace(" ", "")
    return "".join(c if c.isalnum() else "-" for c in text).strip("-") or "contrast"
