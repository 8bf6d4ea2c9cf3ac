"""Which maps may be analysed together: those that one method of this program has made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..schema.segmenters import KEY, SEGMENTERS

#: Versions that changed the method so that their maps must not be mixed with earlier ones. A version that changes maps
#: is added here: finished scans are then made again, and the group level refuses a mixture.
CHANGED_MAPS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0")


def map_version(sidecar: Mapping[str, Any]) -> str | None:
    """Version of LatentAtlas that computed a map; None where another program did, or nothing is known.

    A precomputed map was only copied by the version that its sidecar names.
    """
    version = sidecar.get("SourceLatentAtlasVersion" if sidecar.get("Precomputed") else "LatentAtlasVersion")
    return None if version is None else str(version)


def map_engine(sidecar: Mapping[str, Any]) -> str | None:
    """The engine that told the tissues of a map apart; None where another program made it, or nothing is known.

    Maps of this program whose sidecar does not say are from before there was a choice.
    """
    engine = sidecar.get(KEY)
    if engine is None and map_version(sidecar) is not None:
        return SEGMENTERS[0].name
    return None if engine is None else str(engine)


def generation(version: str | None) -> int | None:
    """Number of the method by which a version makes its maps; maps of one number may be analysed together.

    Parameters
    ----------
    version : str or None
        One that is newer than this program has a number of its own: what it changed is not known here.
    """
    parsed = _parse(version)
    if parsed is None:
        return None
    if parsed > (_parse(__version__) or ()):
        return len(CHANGED_MAPS) + 1
    return sum(changed <= parsed for changed in map(_parse, CHANGED_MAPS) if changed)


def _parse(version: str | None) -> tuple[int, ...] | None:
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version or "")
    return tuple(int(part or 0) for part in match.groups()) if match else None
