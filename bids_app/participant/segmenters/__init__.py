"""The engines that segment tissues, one module each, named as ``--segmentation`` names it (``schema.segmenters``)."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import nibabel as nib

from bids_app.participant.tissue import Tissues


class Segment(Protocol):
    """Segments a bias-corrected scan; see ``participant.tissue.segment`` for what is given and what comes back."""

    def __call__(
        self,
        corrected: nib.Nifti1Image,
        mask: nib.Nifti1Image,
        gm_prior: nib.Nifti1Image,
        wm_prior: nib.Nifti1Image,
        csf_prior: nib.Nifti1Image,
        deep_prior: nib.Nifti1Image | None = None,
        sloppy: bool = False,
    ) -> Tissues: ...


def segmenter(name: str) -> Segment:
    """The function ``segment`` of the module of that name."""
    return import_module(f"{__name__}.{name}").segment
