"""A synthetic cohort on disk: a BIDS dataset of T1-weighted scans, and beside it what was planted in them.

Scans are written one by one, each after its own ground truth, and never half: an interrupted run resumes where it
stopped when it is started again with the same settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import __version__
from ..bids.files import write_json
from ..errors import OutputError, UsageError
from ..schema.outputs import GROUND_TRUTH, GROUND_TRUTH_OF_PARTICIPANTS
from .anatomy import Anatomy, load_anatomy
from .atrophy import DEFAULT_REGIONS, AtrophyPlan, plan_atrophy
from .cohort import Person, draw_person, planted_changes, stream
from .cohort_tables import describe_dataset, ground_truth, write_digits, writing_to
from .head import make_head
from .scan import draw_scanner, scan_head
from .shell import make_shell

SETTINGS = "code/simulation.json"
PARTS = "code/ground_truth_scans"


@dataclass(frozen=True)
class SimulationSettings:
    """What defines a cohort.

    Attributes
    ----------
    n_participants, sessions : int
    resolution : float
        Voxel edge in mm.
    seed : int
    full_head : bool
        With skull and scalp, or skull-stripped.
    effect : float
        Loss of grey matter planted in AD in a region of weight 1, as a share; MCI has half of it; 0 plants nothing.
    regions : dict
        Region name -> weight.
    confound : bool
        Let age follow the diagnosis.
    """

    n_participants: int = 24
    sessions: int = 1
    resolution: float = 2.0
    seed: int = 0
    full_head: bool = True
    effect: float = 0.25
    regions: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_REGIONS))
    confound: bool = False

    def __post_init__(self) -> None:
        checks: dict[str, tuple[float, float]] = {
            "n_participants": (1, 100_000),
            "sessions": (1, 50),
            "resolution": (0.5, 8),
            "seed": (0, 2**32 - 1),
            "effect": (0, 0.5),
        }
        for name, (low, high) in checks.items():
            if not low <= getattr(self, name) <= high:
                option = "--" + name.replace("_", "-")
                raise UsageError(
                    f"{option} {getattr(self, name):g} is out of range.", remedy=f"Choose {low} to {high:g}."
                )
        wrong = [name for name, weight in self.regions.items() if not 0 < weight <= 1]
        if wrong:
            raise UsageError(f"The weight of {', '.join(wrong)} is out of range.", remedy="Choose above 0, at most 1.")

    @property
    def weights(self) -> np.ndarray:
        """Weights of the regions, (R,)."""
        return np.array(list(self.regions.values()), float)

    def person(self, number: int) -> Person:
        """Participant ``number`` (from 1)."""
        return draw_person(number, len(self.regions), self.seed, self.confound)

    def identity(self) -> dict[str, Any]:
        """Everything that decides what one participant looks like: not how many there are."""
        return {"version": __version__, **{k: v for k, v in asdict(self).items() if k != "n_participants"}}


def simulate_dataset(
    out_dir: str | Path,
    settings: SimulationSettings,
    nprocs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic cohort.

    Parameters
    ----------
    out_dir : path
        New, empty, or holding an interrupted run with the same settings.
    settings : SimulationSettings
    nprocs : int
        Scans made at a time.
    progress : callable, optional
        Called with (done, total) after every scan.

    Returns
    -------
    Path
        ``out_dir``.

    Raises
    ------
    OutputError
        The folder holds something else, or cannot be written.
    """
    out = Path(out_dir)
    people = [settings.person(number) for number in range(1, settings.n_participants + 1)]
    with writing_to(out):
        check_folder(out, settings.identity(), people)
        anatomy = load_anatomy()
        plan = plan_atrophy(anatomy, settings.regions, settings.effect)
        write_json(out / SETTINGS, settings.identity())  # only now: the settings are known to be possible
        _make_missing(out, settings, anatomy, plan, people, nprocs, progress or (lambda *_: None))
        describe_dataset(out, settings, people)
    return out


def _make_missing(
    out: Path,
    settings: SimulationSettings,
    anatomy: Anatomy,
    plan: AtrophyPlan,
    people: list[Person],
    nprocs: int,
    progress: Callable[[int, int], None],
) -> None:
    """Make the scans that are not there yet, then gather the ground truth of all."""
    jobs = [(person, session) for person in people for session in range(settings.sessions)]
    missing = [job for job in jobs if not _finished(out, settings, *job)]
    if missing:
        from joblib import Parallel, delayed

        shell = make_shell(anatomy) if settings.full_head else None
        work = (delayed(_make_scan)(out, settings, anatomy, plan, shell, *job) for job in missing)
        progress(len(jobs) - len(missing), len(jobs))
        made = Parallel(n_jobs=min(nprocs, len(missing)), return_as="generator_unordered")(work)
        for done, _ in enumerate(made, start=len(jobs) - len(missing) + 1):
            progress(done, len(jobs))

    truth = pd.concat([pd.read_csv(_part(out, settings, *job), sep="\t") for job in jobs])
    write_digits(truth, out / GROUND_TRUTH_OF_PARTICIPANTS)
    planted = planted_changes(settings.weights, settings.effect)
    write_digits(ground_truth(plan, planted, truth), out / GROUND_TRUTH)


def check_folder(out: Path, identity: dict[str, Any], people: list[Person]) -> None:
    """Accept an empty folder (made if need be), or one that an earlier run with the same settings has begun.

    Raises
    ------
    OutputError
        It holds anything else, or more participants than are asked for.
    """
    mark = out / SETTINGS
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        return
    try:
        earlier = json.loads(mark.read_text()) if mark.is_file() else None
    except ValueError:
        earlier = "damaged"
    more = {folder.name for folder in out.glob("sub-*")} - {f"sub-{person.label}" for person in people}
    if earlier is None:
        problem = "The output folder is not empty."
    elif earlier != json.loads(json.dumps(identity)):
        problem = "The output folder is not empty: it contains a cohort simulated with other settings."
    elif more:
        problem = f"The output folder is not empty: it contains {len(more)} participants more than requested."
    else:
        return
    raise OutputError(problem, file=out, remedy="Use a new folder. (The same settings would resume the cohort.)")


def scan_stem(settings: SimulationSettings, person: Person, session: int) -> str:
    """Path of a scan without its extension, relative to the dataset."""
    sub = f"sub-{person.label}"
    if settings.sessions == 1:
        return f"{sub}/anat/{sub}_T1w"
    ses = f"ses-{session + 1:02d}"
    return f"{sub}/{ses}/anat/{sub}_{ses}_T1w"


def _part(out: Path, settings: SimulationSettings, person: Person, session: int) -> Path:
    return out / PARTS / (Path(scan_stem(settings, person, session)).name.replace("_T1w", "") + ".tsv")


def _finished(out: Path, settings: SimulationSettings, person: Person, session: int) -> bool:
    image = out / (scan_stem(settings, person, session) + ".nii.gz")
    return image.is_file() and _part(out, settings, person, session).is_file()


def _make_scan(
    out: Path,
    settings: SimulationSettings,
    anatomy: Anatomy,
    plan: AtrophyPlan,
    shell: tuple[np.ndarray, np.ndarray] | None,
    person: Person,
    session: int,
) -> None:
    """Make and write one scan, its sidecar and its ground truth."""
    change = person.change_at(session, settings.weights, settings.effect)
    head = make_head(anatomy, plan, person, change, person.gm_loss_at(session), settings.seed)
    rng = stream(settings.seed, person.number, f"scan{session}")
    scanner = draw_scanner(person.number, person.site, rng)
    image = scan_head(head, anatomy, scanner, settings.resolution, shell, rng)

    truth = head.truth
    identity = {"participant_id": f"sub-{person.label}"}
    if settings.sessions > 1:
        identity["session_id"] = f"ses-{session + 1:02d}"
    rows = truth_rows(identity, person, anatomy, plan, change, truth["before"], truth["after"])
    write_digits(rows, _part(out, settings, person, session))

    stem = out / scan_stem(settings, person, session)
    stem.parent.mkdir(parents=True, exist_ok=True)
    gm, wm, csf = (round(float(v), 3) for v in truth["tissue_ml"])
    write_json(
        stem.with_name(stem.name + ".json"),
        {
            "Modality": "MR",
            "MagneticFieldStrength": 3,
            "Manufacturer": "simulated",
            "InstitutionName": f"simulated site {person.site}",
            "SkullStripped": not settings.full_head,
            "SimulatedTrueVolumes": {"GM": gm, "WM": wm, "CSF": csf, "TIV": round(person.tiv, 3)},
            "SimulatedJacobianRange": [round(v, 4) for v in truth["jacobian"]],
        },
    )
    unfinished = stem.with_name(f".{stem.name}.nii.gz")
    image.to_filename(unfinished)
    os.replace(unfinished, stem.with_name(stem.name + ".nii.gz"))


def truth_rows(
    identity: dict[str, str],
    person: Person,
    anatomy: Anatomy,
    plan: AtrophyPlan,
    change: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> pd.DataFrame:
    """One row an atlas region: planted and realised change, grey matter in ml with and without the atrophy."""
    planted = pd.Series(0.0, index=anatomy.table["index"])
    planted[plan.index] = change
    return pd.DataFrame(
        {
            **identity,
            "diagnosis": person.diagnosis,
            "index": anatomy.table["index"].to_numpy(),
            "name": anatomy.table["name"].to_numpy(),
            "planted": planted.to_numpy().round(5),
            "realised": np.round(after / before - 1, 5),
            "gm_ml": after.round(5),
            "gm_ml_without_atrophy": before.round(5),
        }
    )
