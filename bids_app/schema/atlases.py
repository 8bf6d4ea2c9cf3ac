"""The atlases that ``--atlas`` knows by name, and the texts that describe each.

A row here and its loader in ``space.atlas_loaders`` are all that an atlas needs: help, checks and the methods text are
made from the row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NamedAtlas:
    """Name and descriptions of an atlas.

    Attributes
    ----------
    name : str
        As ``--atlas`` takes it, in capitals or not, and in the ``atlas-`` entity.
    citations : tuple of str
        Keys in ``boilerplate/references.bib``.
    way : str
        How its labels come to the template, a clause after "measured with the atlas".
    bundled : bool
        Whether it needs no download.
    space : str
        How the names of the spaces start in which it fits.
    """

    name: str
    citations: tuple[str, ...]
    way: str
    bundled: bool = False
    space: str = "MNI152"


_FROM_COLIN27 = (
    "whose labels were carried to the template from the brain on which they were drawn (Colin27) by LatentAtlas's own "
    "normalisation of that brain"
)
AAL2 = NamedAtlas("AAL2", ("aal2",), _FROM_COLIN27, bundled=True)
AAL1 = NamedAtlas("AAL1", ("aal1",), _FROM_COLIN27)
AAL3 = NamedAtlas("AAL3", ("aal3",), _FROM_COLIN27)
HARVARD_OXFORD = NamedAtlas(
    "HarvardOxford",
    ("makris2006", "frazier2005", "desikan2006", "goldstein2007"),
    "drawn on the scans of 37 people and combined in MNI152 space, with each voxel assigned to its most probable "
    "region if that probability is at least 25 %",
    bundled=True,
)
#: The default comes first.
ATLASES = (AAL2, AAL1, AAL3, HARVARD_OXFORD)
CHOICE = ", ".join(f"{atlas.name} (bundled)" if atlas.bundled else atlas.name for atlas in ATLASES)


def named(name: object) -> NamedAtlas | None:
    """The atlas of that name; None for a file."""
    wanted = {"AAL": "AAL1"}.get(str(name).upper(), str(name).upper())
    return next((atlas for atlas in ATLASES if atlas.name.upper() == wanted), None)
