"""The words of a claim for a contrast."""

from __future__ import annotations

from bids_app.group.design import Contrast
from bids_app.schema.claims import Claim


def in_words(claim: Claim, contrast: Contrast | None = None) -> str:
    """The sentence of a claim, as it stands in every table."""
    if contrast is None:
        return claim.groups
    words = {"groups": claim.groups, "ordinal": claim.ordinal, "score": claim.score}[contrast.kind] or claim.groups
    first, second = contrast.labels if contrast.kind == "groups" else ("", "")
    return words.format(first=first, second=second, contrast=contrast.name)
