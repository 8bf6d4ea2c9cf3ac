"""Modulated grey-matter maps in template space, made directly: no scan, no registration, hundreds in a minute.

The same anatomy, people and planted truth as the scans, as a perfect registration would show them: grey matter times
the Jacobian determinant of the deformation that made the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from ..bids.files import write_json, write_text
from ..errors import UsageError
from ..schema.outputs import GROUND_TRUTH, GROUND_TRUTH_OF_PARTICIPANTS, README, SCAN_FILES
from ..space.template_sources import BUNDLED
from ..space.templates import res_label
from .anatomy import Anatomy, load_anatomy, tissue_shares, to_coarse
from .atrophy import VOXEL_ML, AtrophyPlan, individual_gain, plan_atrophy, regional_sums
from .cohort import Person, planted_changes, stream
from .cohort_tables import (
    describe_people,
    ground_truth,
    participant_columns,
    write_description,
    write_digits,
    writing_to,
)
from .fields import field_jacobian, grid, integrate, random_velocity, sample
from .head import SHAPE_BOX, SHAPE_COMPONENTS, SHAPE_MM, to_shape_voxels
from .scan_dataset import SETTINGS, SimulationSettings, check_folder, truth_rows

README_TEXT = """Simulated modulated grey-matter maps
====================================

No scan was made or processed: each map is the grey matter of a simulated head in the space of its template, times the
Jacobian determinant of the deformation that made the head. What was planted is in `code/ground_truth.tsv`, what came of
it, region by region, in `code/ground_truth_participants.tsv`, how it was made in `code/simulation.json`.
"""


@dataclass(frozen=True)
class GmMap:
    """One map and what is true of it.

    Attributes
    ----------
    data : ndarray, (X, Y, Z), float32
        ml of grey matter per ml of template; exceeds 1 where the brain is larger than the template.
    tissue_ml : ndarray, (3,)
        GM, WM, CSF.
    jacobian : (float, float)
        Least and greatest volume change against the template.
    before, after : ndarray, (R_atlas,)
        ml of grey matter of every atlas region without and with the planted atrophy.
    """

    data: np.ndarray
    tissue_ml: np.ndarray
    jacobian: tuple[float, float]
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class GmCohort:
    """A cohort of maps in memory.

    Attributes
    ----------
    maps : ndarray, (N, X, Y, Z), float32
    affine : ndarray, (4, 4)
    table : DataFrame, N rows
        ``participant_id``[, ``session_id``], ``age, sex, diagnosis, mmse, site, tiv``.
    truth : DataFrame
        ``index, name, CN, MCI, AD, realised_CN, realised_MCI, realised_AD``.
    regions : DataFrame
        One row per scan and atlas region, as in code/ground_truth_participants.tsv.
    """

    maps: np.ndarray
    affine: np.ndarray
    table: pd.DataFrame
    truth: pd.DataFrame
    regions: pd.DataFrame

    def image(self, row: int) -> nib.Nifti1Image:
        """One map as an image."""
        return nib.Nifti1Image(self.maps[row], self.affine)


def simulate_gm_maps(n_participants: int = 60, *, resolution: float = 4.0, **settings: Any) -> GmCohort:
    """Simulate modulated grey-matter maps in memory.

    Parameters
    ----------
    n_participants : int
        Diagnoses alternate CN, MCI, AD.
    resolution : {2, 4}
        Voxel edge in mm, on the grids of the bundled template.
    **settings
        ``seed, effect, regions, confound, sessions`` as in :class:`.scan_dataset.SimulationSettings`.

    Returns
    -------
    GmCohort
    """
    chosen = SimulationSettings(n_participants=n_participants, resolution=resolution, **settings)
    anatomy, plan = _prepare(chosen)
    maps, rows, found = list[np.ndarray](), list[dict[str, Any]](), list[pd.DataFrame]()
    for person, session, one in _each(chosen, anatomy, plan):
        maps.append(one.data)
        identity = _identity(chosen, person, session)
        described: dict[str, Any] = {str(k): v for k, v in participant_columns([person]).iloc[0].items()} | identity
        described |= {"age": person.age_at(session), "mmse": person.mmse_at(session), "tiv": round(person.tiv, 2)}
        rows.append({**identity, **{k: v for k, v in described.items() if k not in identity}})
        found.append(_region_rows(chosen, anatomy, plan, person, session, one))
    regions = pd.concat(found, ignore_index=True)
    truth = ground_truth(plan, planted_changes(chosen.weights, chosen.effect), regions)
    return GmCohort(np.stack(maps), map_affine(anatomy, resolution), pd.DataFrame(rows), truth, regions)


def simulate_map_dataset(
    out_dir: str | Path, settings: SimulationSettings, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write modulated grey-matter maps as a BIDS derivative dataset that the group level can start from.

    Parameters
    ----------
    out_dir : path
        New or empty.
    settings : SimulationSettings
        ``resolution`` 2 or 4 mm.
    progress : callable, optional
        Called with (done, total).

    Raises
    ------
    UsageError, OutputError
    """
    out = Path(out_dir)
    _check(settings)
    people = [settings.person(number) for number in range(1, settings.n_participants + 1)]
    with writing_to(out):
        identity = {"kind": "maps", **settings.identity()}
        check_folder(out, identity, people)
        anatomy, plan = _prepare(settings)
        write_json(out / SETTINGS, identity)
        _write_maps(
            out, settings, anatomy, plan, len(people) * settings.sessions, progress or (lambda done, total: None)
        )
        write_text(README.at(out), README_TEXT)
        write_description(out, "Simulated modulated grey-matter maps with planted atrophy", "derivative")
        describe_people(out, settings, people)
    return out


def _write_maps(
    out: Path,
    settings: SimulationSettings,
    anatomy: Anatomy,
    plan: AtrophyPlan,
    total: int,
    progress: Callable[[int, int], None],
) -> None:
    affine = map_affine(anatomy, settings.resolution)
    grid_name = f"space-{BUNDLED}_res-{res_label(settings.resolution)}"
    found = list[pd.DataFrame]()
    progress(0, total)
    for person, session, one in _each(settings, anatomy, plan):
        identity = _identity(settings, person, session)
        stem = "_".join([*identity.values(), grid_name, SCAN_FILES["modulated"].stem])
        path = out.joinpath(*identity.values(), "anat", stem)
        image = nib.Nifti1Image(one.data, affine)
        image.set_sform(affine, code=4)
        image.set_qform(affine, code=4)
        write_json(path.with_name(f"{stem}.json"), _sidecar(settings, person, one))
        image.to_filename(path.with_name(f"{stem}.nii.gz"))
        found.append(_region_rows(settings, anatomy, plan, person, session, one))
        progress(len(found), total)
    regions = pd.concat(found, ignore_index=True)
    write_digits(regions, out / GROUND_TRUTH_OF_PARTICIPANTS)
    truth = ground_truth(plan, planted_changes(settings.weights, settings.effect), regions)
    write_digits(truth, out / GROUND_TRUTH)


def make_map(
    anatomy: Anatomy,
    plan: AtrophyPlan,
    person: Person,
    change: np.ndarray,
    gm_loss: float,
    settings: SimulationSettings,
) -> GmMap:
    """Make one map on the 2 mm grid and bring it to the resolution asked for.

    Parameters
    ----------
    change : ndarray, (R,)
        Planted relative changes.
    gm_loss : float
        Percent of all grey matter that age has taken.
    """
    folding = stream(settings.seed, person.number, "folding")
    coarse = np.stack([to_coarse(anatomy, t) for t in tissue_shares(anatomy, folding, gm_loss)])
    velocity = random_velocity(SHAPE_BOX[1], SHAPE_MM, SHAPE_COMPONENTS, stream(settings.seed, person.number, "shape"))
    where = to_shape_voxels(grid(anatomy.labels.shape) * 2 + anatomy.labels_affine[:3, 3].reshape(3, 1, 1, 1))
    shape = sample(field_jacobian(integrate(velocity))[None], where.astype(np.float32))[0]
    strength = individual_gain(plan, coarse[0], change, flow=False) * np.log1p(change)
    density = shape * np.exp(np.tensordot(strength.astype(np.float32), plan.sources, 1))
    size = person.tiv / (float((coarse.sum(0) * density).sum()) * VOXEL_ML)
    index = anatomy.table["index"].to_numpy()
    voxel = VOXEL_ML * size
    data = coarse[0] * density * np.float32(size)
    if settings.resolution == 4:
        for axis in range(3):
            data = ndimage.convolve1d(data, [0.25, 0.5, 0.25], axis=axis, mode="constant")
        data = data[::2, ::2, ::2]
    return GmMap(
        data=np.ascontiguousarray(data, np.float32),
        tissue_ml=(coarse * density).sum((1, 2, 3), dtype=np.float64) * voxel,
        jacobian=(float(density.min() * size), float(density.max() * size)),
        before=regional_sums(anatomy.labels, coarse[0] * shape, index) * voxel,
        after=regional_sums(anatomy.labels, coarse[0] * density, index) * voxel,
    )


def map_affine(anatomy: Anatomy, resolution: float) -> np.ndarray:
    """Affine of the maps: the template's origin, isotropic voxels."""
    affine = anatomy.labels_affine.copy()
    affine[:3, :3] *= resolution / 2
    return affine


def _check(settings: SimulationSettings) -> None:
    if settings.resolution not in (2, 4):
        raise UsageError(f"Maps cannot be made at {settings.resolution:g} mm.", remedy="Choose --resolution 2 or 4.")


def _prepare(settings: SimulationSettings) -> tuple[Anatomy, AtrophyPlan]:
    _check(settings)
    anatomy = load_anatomy(step=2)
    return anatomy, plan_atrophy(anatomy, settings.regions, settings.effect, flow=False)


def _each(settings: SimulationSettings, anatomy: Anatomy, plan: AtrophyPlan) -> Iterator[tuple[Person, int, GmMap]]:
    for number in range(1, settings.n_participants + 1):
        person = settings.person(number)
        for session in range(settings.sessions):
            change = person.change_at(session, settings.weights, settings.effect)
            yield person, session, make_map(anatomy, plan, person, change, person.gm_loss_at(session), settings)


def _identity(settings: SimulationSettings, person: Person, session: int) -> dict[str, str]:
    identity = {"participant_id": f"sub-{person.label}"}
    return identity | ({"session_id": f"ses-{session + 1:02d}"} if settings.sessions > 1 else {})


def _region_rows(
    settings: SimulationSettings, anatomy: Anatomy, plan: AtrophyPlan, person: Person, session: int, one: GmMap
) -> pd.DataFrame:
    change = person.change_at(session, settings.weights, settings.effect)
    return truth_rows(_identity(settings, person, session), person, anatomy, plan, change, one.before, one.after)


def _sidecar(settings: SimulationSettings, person: Person, one: GmMap) -> dict[str, Any]:
    gm, wm, csf = (round(float(v), 3) for v in one.tissue_ml)
    total = round(float(one.data.sum(dtype=np.float64)) * settings.resolution**3 / 1000, 3)
    return {
        "Description": "Simulated grey matter of an individual head in template space, scaled by the Jacobian "
        "determinant (modulated); values may exceed 1",
        "Resolution": f"{settings.resolution:g} mm isotropic",
        "Units": "ml per ml",
        "GMVolume": gm,
        "WMVolume": wm,
        "CSFVolume": csf,
        "TIV": round(person.tiv, 3),
        "ModulatedGMVolume": total,
        "GMVolumeConservation": round(total / gm, 5),
        "JacobianRange": [round(v, 4) for v in one.jacobian],
        "QualityVerdict": "pass",
        "QualityReasons": [],
    }
