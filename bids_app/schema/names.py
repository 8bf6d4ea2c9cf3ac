"""How names of the data become parts of file names, and what latents are called."""

from __future__ import annotations


def contrast_slug(name: str) -> str:
    """Name of a contrast that is safe in file and column names."""
    text = name.replace("<", "Lt").replace(" ", "")
    return "".join(c if c.isalnum() else "-" for c in text).strip("-") or "contrast"


def latent_names(count: int) -> list[str]:
    """Columns of ``count`` latents, of one width: ``latent_01`` ..."""
    width = max(2, len(str(count)))
    return [f"latent_{number:0{width}d}" for number in range(1, count + 1)]
