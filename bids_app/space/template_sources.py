"""Where templates come from: one that nilearn brings, and TemplateFlow."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_app.errors import ConfigError, UnavailableError, one_line
from bids_app.space.package_data import package_folder

BUNDLED = "MNI152NLin2009aSym"


def parse_name(name: str) -> tuple[str, dict[str, str]]:
    """Split ``identifier:cohort-1:res-2`` into the identifier and its modifiers."""
    identifier, *parts = name.split(":")
    modifiers = {}
    for part in parts:
        key, _, value = part.partition("-")
        if key not in ("cohort", "res") or not value:
            raise ConfigError(
                f"The template {name!r} has an unknown modifier: {part!r}.",
                remedy="Use cohort-<label> or res-<label>, as in MNIPediatricAsym:cohort-3.",
            )
        modifiers[key] = value
    if not identifier.isalnum():
        raise ConfigError(f"{name!r} is not a template name.", remedy=f"Use a TemplateFlow name such as {BUNDLED}.")
    return identifier, modifiers


def load_bundled() -> tuple[nib.Nifti1Image, ...]:
    """The ICBM 152 symmetric template (Fonov et al. 2011) in nilearn: brain, GM and WM priors; CSF is the rest."""
    # Only the data is wanted: to import nilearn takes a second.
    folder = package_folder("nilearn") / "datasets" / "data"
    found: list[Any] = [
        nib.load(folder / f"mni_icbm152_{part}_tal_nlin_sym_09a_converted.nii.gz") for part in ("t1", "gm", "wm")
    ]
    t1w, gm, wm = found
    mask = np.asarray(t1w.dataobj) > 0
    gm_data, wm_data = (np.asarray(image.dataobj, dtype=np.float32) / 255 * mask for image in (gm, wm))
    csf_data = np.clip(mask - gm_data - wm_data, 0, None)
    return t1w, *(nib.Nifti1Image(data, t1w.affine) for data in (mask.astype(np.uint8), gm_data, wm_data, csf_data))


def load_templateflow(identifier: str, modifiers: dict[str, str], fetch: bool = True) -> tuple[nib.Nifti1Image, ...]:
    """T1w, brain mask and the three priors of a TemplateFlow template, fetched if that is wanted and possible."""
    command = f'python -c "from templateflow import api; api.get({identifier!r})"'
    remedy = (
        f"On a machine with a network, run `{command}`. Then copy its TEMPLATEFLOW_HOME folder here and set the "
        f"environment variable TEMPLATEFLOW_HOME to it. Or use the bundled template {BUNDLED}."
    )
    try:
        # Its import alone asks for a network where nothing is cached.
        if not fetch and not _is_cached(identifier):
            raise UnavailableError(f"The template {identifier} is not cached.", remedy=remedy)
        from templateflow.client import TemplateFlowClient

        client = TemplateFlowClient() if fetch else TemplateFlowClient(autoupdate=False)
        home = client.cache.config.root
        known = client.ls(identifier, suffix="T1w", desc=None, extension=".nii.gz")
    except UnavailableError:
        raise
    except Exception as error:
        raise UnavailableError(f"TemplateFlow cannot be read: {error}", remedy=remedy) from error
    if not known:
        raise UnavailableError(
            f"TemplateFlow has no T1w template called {identifier!r}.",
            file=home,
            remedy=f"Check the spelling (see templateflow.org). {remedy}",
        )
    query: dict[str, Any] = {"extension": ".nii.gz"}
    if "cohort" in modifiers:
        query["cohort"] = modifiers["cohort"]
    resolutions = sorted({_entity(path, "res") for path in client.ls(identifier, suffix="T1w", desc=None, **query)})
    if not resolutions:
        raise UnavailableError(
            f"Template {identifier} has no cohort {modifiers.get('cohort')!r}.",
            file=home,
            remedy="Its cohorts: " + ", ".join(sorted({_entity(p, "cohort") for p in known if _entity(p, "cohort")})),
        )
    cohorts = {_entity(path, "cohort") for path in known}
    if "cohort" not in modifiers and len(cohorts) > 1:
        raise ConfigError(
            f"Template {identifier} comes in several cohorts.",
            remedy=f"Choose one: {identifier}:cohort-<label>, of " + ", ".join(sorted(cohorts)) + ".",
        )
    wanted = modifiers.get("res")
    chosen = [r for r in resolutions if wanted is None or r.lstrip("0") == wanted.lstrip("0")]
    if not chosen:
        raise UnavailableError(
            f"Template {identifier} has no resolution {wanted!r}.", remedy="It has: " + ", ".join(resolutions)
        )
    res = chosen[0]  # by convention the finest has the lowest index
    if res:
        query["resolution"] = int(res) if res.isdigit() else res
    parts: list[dict[str, Any]] = [
        {"suffix": "T1w", "desc": None},
        {"suffix": "mask", "desc": "brain"},
        {"suffix": "probseg", "label": "GM"},
        {"suffix": "probseg", "label": "WM"},
        {"suffix": "probseg", "label": "CSF"},
    ]
    get = client.get if fetch else partial(_cached, client)
    return tuple(_fetch(client, identifier, {**query, **part}, remedy, get) for part in parts)


def _is_cached(identifier: str) -> bool:
    """Whether TemplateFlow's folder holds a T1w image of a template; it keeps empty files where it has not fetched."""
    from platformdirs import user_cache_dir  # as TemplateFlow does

    home = Path(os.environ.get("TEMPLATEFLOW_HOME") or user_cache_dir("templateflow"))
    return any(path.stat().st_size for path in (home / f"tpl-{identifier}").rglob("*_T1w.nii*") if path.is_file())


def _cached(client: Any, identifier: str, **query: Any) -> list[Path]:
    found = client.ls(identifier, **query)
    if not all(path.is_file() and path.stat().st_size for path in found):  # TemplateFlow keeps places free for files
        raise FileNotFoundError("nothing is to be downloaded")
    return found


def _fetch(
    client: Any, identifier: str, query: dict[str, Any], remedy: str, get: Callable[..., Any]
) -> nib.Nifti1Image:
    what = " ".join(str(query[key]) for key in ("label", "desc", "suffix") if query.get(key))
    try:
        found = get(identifier, **query)
    except Exception as error:  # requests, datalad and the file system each have their own
        raise UnavailableError(
            f"The {what} of template {identifier} is not cached and could not be fetched ({one_line(error)}).",
            file=client.cache.config.root,
            remedy=remedy,
        ) from error
    if isinstance(found, list):
        if not found:
            raise UnavailableError(
                f"TemplateFlow has no {what} for template {identifier}, which tissue segmentation needs.",
                file=client.cache.config.root,
                remedy=f"Choose a template with GM, WM and CSF priors, such as {BUNDLED} or MNI152NLin2009cAsym.",
            )
        found = found[0]
    try:
        image: Any = nib.load(found)
        return nib.Nifti1Image(np.asarray(image.dataobj, dtype=np.float32), image.affine)
    except Exception as error:
        raise UnavailableError(
            f"The {what} of template {identifier} is damaged ({one_line(error)}).",
            file=found,
            remedy="Delete that file; it will be fetched again.",
        ) from error


def _entity(path: Path, key: str) -> str:
    """Value of a BIDS entity in a file name, or an empty string."""
    return next((part[len(key) + 1 :] for part in Path(path).name.split("_") if part.startswith(f"{key}-")), "")
