"""The claims that the group level puts to the test, in words that stay the same in every table."""

from __future__ import annotations

from bids_app.group.design import Contrast

ERROR_CLAIM = "Regional grey matter explains the reconstruction error"


def separation(contrast: Contrast) -> str:
    """The latent space answers the question of the contrast."""
    if contrast.kind == "groups":
        return f"The latent space separates {contrast.labels[0]} from {contrast.labels[1]}"
    if contrast.kind == "ordinal":
        return f"The latent space follows the order {contrast.name}"
    return f"The latent space predicts {contrast.name}"


def beats_covariates(contrast: Contrast) -> str:
    """The latent space knows more than the covariates."""
    return f"The latent space beats the covariates ({contrast.name})"


def regions_carried(contrast: Contrast) -> str:
    """Regions that the latents carry and that answer the question (LRCP)."""
    return f"Regions carried by the latent space differ ({contrast.name})"


def single_regions(contrast: Contrast) -> str:
    """Single regions separate the groups (SAM)."""
    return f"Single regions' grey matter separates the groups ({contrast.name})"
