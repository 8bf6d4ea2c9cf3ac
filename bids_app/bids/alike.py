"""Refuse maps that must not be analysed together: of other spaces, grids, kinds or methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DatasetError
from .files import read_json, sidecar_path
from .maps import LISTED, GreyMatterMap
from .versions import generation, map_engine, map_version


def check_alike(maps: Sequence[GreyMatterMap], remedy: str, *, modulating: bool = False) -> None:
    """Refuse maps of different spaces, voxel grids, methods, or of which only some are modulated.

    Parameters
    ----------
    maps : sequence of GreyMatterMap
    remedy : str
        What the user can do about it.
    modulating : bool
        Maps that have their transform beside them are going to be modulated.

    Raises
    ------
    DatasetError
        Names the kinds with their numbers of scans, and the scans of the rarest.
    """
    labels = {m.resolution for m in maps if m.resolution}
    # A map without the label may well have the resolution of the others, which its grid tells.
    unlabelled = f"res-{min(labels)}" if len(labels) == 1 else "without res-"
    kinds: dict[str, Callable[[GreyMatterMap], str]] = {
        "spaces": lambda m: m.template,
        "resolutions": lambda m: f"res-{m.resolution}" if m.resolution else unlabelled,
        "grids": _grid,
        "kinds": lambda m: "modulated" if m.modulated or (modulating and m.transform) else "not modulated",
    }
    for what, kind in kinds.items():
        groups: dict[str, list[str]] = defaultdict(list)
        for item in maps:
            groups[kind(item)].append(item.prefix)
        if len(groups) > 1:
            rare = min(groups, key=lambda name: len(groups[name]))
            raise DatasetError(
                f"the maps are of different {what}: {', '.join(f'{k} ({len(v)} scans)' for k, v in groups.items())}; "
                f"{rare}: {', '.join(groups[rare][:10])}{' …' if len(groups[rare]) > 10 else ''}",
                file=maps[0].path.parent,
                remedy=remedy,
            )
    _check_methods(maps)


def _check_methods(maps: Sequence[GreyMatterMap]) -> None:
    """Refuse maps that were made by different methods of this program; what other programs made says neither."""
    sidecars = {item: read_json(sidecar_path(item.path)) for item in maps}
    versions = {item: map_version(sidecar) for item, sidecar in sidecars.items()}
    engines = {item: map_engine(sidecar) for item, sidecar in sidecars.items()}
    _refuse_mixture(
        {item: (generation(version), version) for item, version in versions.items()},
        "by versions of LatentAtlas whose maps must not be mixed",
        "process all scans again with one version",
    )
    _refuse_mixture(
        {item: (engine, engine) for item, engine in engines.items()},
        "with different segmentations, and must not be mixed",
        "process all scans again with one --segmentation",
    )


def _refuse_mixture(made: dict[GreyMatterMap, tuple[Any, str | None]], how: str, remedy: str) -> None:
    """Refuse maps of more than one method.

    Parameters
    ----------
    made : dict
        Map -> what tells methods apart (None: unknown, which goes with anything), and its name.
    how, remedy : str
        For the message.
    """
    groups: dict[Any, list[GreyMatterMap]] = defaultdict(list)
    for item, (method, _) in made.items():
        if method is not None:
            groups[method].append(item)
    if len(groups) < 2:
        return
    kinds = []
    for _, items in sorted(groups.items()):
        names = " and ".join(sorted({str(made[item][1]) for item in items}))
        listed = ", ".join(item.prefix for item in items[:LISTED])
        kinds.append(
            f"{names}: {listed}{' …' if len(items) > LISTED else ''} ({len(items)} scan{'s' * (len(items) != 1)})"
        )
    raise DatasetError(
        f"the maps were made {how}; {'; '.join(kinds)}",
        file=groups[min(groups)][0].path.parent,
        remedy=f"{remedy} (maps already made in that way are kept), or choose with --participant-label",
    )


def _grid(item: GreyMatterMap) -> str:
    """The voxel grid in words; two grids with the same words and another origin differ in their last part."""
    import nibabel as nib

    image: Any = nib.load(item.path)
    size = " x ".join(f"{zoom:.3g}" for zoom in image.header.get_zooms()[:3])
    # A rounded zero would have a sign of its own.
    origin = ", ".join(f"{value + 0:.4g}" for value in np.round(image.affine[:3, 3], 2))
    axes = "".join(map(str, nib.aff2axcodes(image.affine)))
    return f"{' x '.join(map(str, image.shape[:3]))} voxels of {size} mm from ({origin}), axes {axes}"
