"""Real input that provokes the messages about models, reports, and the other commands."""

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from provoked_analysis import EIGHT, GREY
from provoked_inputs import case, image, written

from bids_app.config import Config
from bids_app.model.calibration import read_calibration, write_calibration
from bids_app.model.cross_fitting import cross_fit_one, split_participants
from bids_app.model.grid import Grid, Sampling
from bids_app.model.linear_model import fit_linear
from bids_app.model.model_files import load_model, make_card, save_model
from bids_app.model.plan import Plan, make_plan
from bids_app.model.volumes import Volumes, build_volumes
from bids_app.participant.encode import encode_scan
from bids_app.planning.bank import Scenario, draw, load_bank
from bids_app.planning.cli import _plan
from bids_app.planning.cli import build_parser as planning_parser
from bids_app.reports.group import build_group_report
from bids_app.reports.participant import build_participant_report
from bids_app.simulate.cli import _run as simulate_run
from bids_app.simulate.cli import build_parser as simulate_parser
from bids_app.simulate.cli import parse_regions
from bids_app.simulate.cohort_tables import writing_to
from bids_app.simulate.scan_dataset import SimulationSettings
from bids_app.workflows.group.group_level import _ground_truth

MODELS, OUTPUT, OTHERS = {}, {}, {}


# --- models ---
def small_model(folder: Path):
    """A linear model of twelve maps, with its folds, and one map."""
    rng, mask = np.random.default_rng(0), np.zeros(GREY.shape, bool)
    mask[2:10, 2:12, 2:10] = True
    grid = Grid(Sampling(mask.shape, EIGHT, 0.0, 8.0), mask)
    maps = Volumes(rng.normal(0.5, 0.1, (12, mask.sum())).astype(np.float16), grid, [str(i) for i in range(12)], [])
    fold = np.arange(12) % 3
    full = fit_linear(maps, np.arange(12), 2)
    save_model(
        full,
        folder,
        make_card(full, participant_ids=["x/sub-01"], latents=rng.normal(size=(12, 2)), space="PhantomSpace"),
    )
    models = [fit_linear(maps, np.flatnonzero(fold != f), 2) for f in range(3)]
    write_calibration(folder, models, maps, fold, [str(i) for i in range(12)])
    return maps, grid.to_image(maps.rows(np.array([0]))[0])


def edit(folder: Path, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reweigh(folder: Path, content: bytes | None = None):
    """Change the weights, and let the card say that they are its own."""
    weights = folder / "model.safetensors"
    if content is not None:
        weights.write_bytes(content)
    edit(folder, weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest())


def other_grid(folder: Path):
    card = json.loads((folder / "model.json").read_text())
    edit(folder, latent_dim=card["latent_dim"] + 1)


for message, damage in {
    "This is not a LatentAtlas model.": lambda f: (f / "model.json").write_text('{"format": "other"}'),
    "The model's description cannot be read: ….": lambda f: (f / "model.json").write_text("{"),
    "The model has format …; this version reads format ….": lambda f: edit(f, format_version=1),
    "The model's description does not list its training participants.": lambda f: edit(f, training={}),
    "… does not match the description in ….": lambda f: (f / "model.safetensors").write_bytes(b"other"),
    "The model cannot be read: ….": lambda f: reweigh(f, b"no weights at all"),
    "The model's arrays do not match its grid.": other_grid,
    "There is no model of kind ….": lambda f: edit(f, kind="transformer"),
}.items():

    def provoke(tmp, damage=damage):
        small_model(tmp / "model")
        damage(tmp / "model")
        return lambda: load_model(tmp / "model"), lambda: small_model(tmp / "model") and None

    MODELS[message] = provoke


@case(MODELS, "The models of the folds are incomplete, or belong to another model.")
def _(tmp):
    small_model(tmp / "model")
    (tmp / "model" / "folds" / "fold-1").rename(tmp / "lost")
    back = tmp / "model" / "folds" / "fold-1"
    return lambda: read_calibration(tmp / "model"), lambda: (tmp / "lost").rename(back) and None


@case(MODELS, "The model was trained in …, but the map is in ….")
def _(tmp):
    _, one = small_model(tmp / "model")
    return (
        lambda: encode_scan(one, tmp / "model", "OtherSpace"),
        lambda: lambda: encode_scan(one, tmp / "model", "PhantomSpace"),
    )


@case(MODELS, "The map does not fit the model: ….")
def _(tmp):
    _, one = small_model(tmp / "model")
    return lambda: encode_scan(one.slicer[:-1], tmp / "model"), lambda: lambda: encode_scan(one, tmp / "model")


@case(MODELS, "The map cannot be encoded: ….")
def _(tmp):
    _, one = small_model(tmp / "model")
    empty = nib.Nifti1Image(np.zeros(one.shape, np.float32), one.affine)
    return lambda: encode_scan(empty, tmp / "model"), lambda: lambda: encode_scan(one, tmp / "model")


@case(MODELS, "The model was trained on maps with another grid: …, but these have ….")
def _(tmp):
    maps, one = small_model(tmp / "model")
    good, bad = tmp / "good.nii.gz", tmp / "bad.nii.gz"
    nib.save(one, good)
    nib.save(one.slicer[:-1], bad)
    return (
        lambda: build_volumes([bad, bad], tmp / "v" / "v.npy", grid=maps.grid),
        lambda: lambda: build_volumes([good, good], tmp / "v" / "v.npy", grid=maps.grid),
    )


@case(MODELS, "The brain mask does not fit the maps: ….")
def _(tmp):
    path = image(tmp / "a.nii.gz", GREY, EIGHT)
    mask = nib.Nifti1Image((GREY > 0).astype(np.uint8), EIGHT)
    return (
        lambda: build_volumes([path, path], tmp / "v" / "v.npy", mask=mask.slicer[:-1]),
        lambda: lambda: build_volumes([path, path], tmp / "v" / "v.npy", mask=mask),
    )


@case(MODELS, "The brain mask of the model is empty or has another shape (…) than its grid (…).")
def _(tmp):
    sampling = Sampling(GREY.shape, EIGHT, 0.0, 8.0)
    return lambda: Grid(sampling, GREY > 9), lambda: lambda: Grid(sampling, GREY > 0)


@case(MODELS, "… participants are too few: the smallest training split would have ….")
def _(tmp):
    def plan(n, folds):
        return lambda: make_plan([str(i) for i in range(n)], split_participants([str(i) for i in range(n)], folds))

    return plan(6, 5), lambda: plan(7, 5)


@case(MODELS, "Cross-fitting needs at least two participants and two folds.")
def _(tmp):
    return lambda: split_participants(["a"], 5), lambda: lambda: split_participants(["a", "b"], 2)


@case(
    MODELS,
    "Scans of … are in more than one fold: numbers about unseen participants would come from models that saw them.",
)
def _(tmp):
    maps, _ = small_model(tmp / "model")
    ids = [f"sub-{i // 2}" for i in range(12)]
    plan = Plan(2, 2, prior=False, max_epochs=0)
    fold = split_participants(ids, 3)
    return (
        lambda: cross_fit_one(maps, ids, np.arange(12) % 3, 0, plan),
        lambda: lambda: cross_fit_one(maps, ids, fold, 0, plan, device="cpu"),
    )


@case(MODELS, "The training plan cannot be used: ….")
def _(tmp):
    path = written(tmp / "plan.json", '{"latent_dim": 0, "latent_dim_asked": 8}')
    return lambda: Plan.read(path), lambda: Plan(4, 4).write(path)


# --- output and reports ---
@case(OUTPUT, "There are no group-level results to report.")
def _(tmp):
    return lambda: build_group_report(tmp), None


@case(OUTPUT, "There is nothing to report about participant ….")
def _(tmp):
    return lambda: build_participant_report(tmp, "01"), None


@case(OUTPUT, "the file of --ground-truth does not exist")
def _(tmp):
    config = Config(tmp, tmp / "out", "group", ground_truth=tmp / "truth.tsv")
    return lambda: _ground_truth(config), lambda: written(tmp / "truth.tsv", "index\tname\n") and None


# --- planning and simulating ---
def plan(*words):
    return lambda: _plan(
        planning_parser().parse_args(["--effect-sd", "0.8", "--studies", "1", "--nprocs", "1", *words])
    )


def simulated(*words):
    return lambda: simulate_run(simulate_parser().parse_args(["--maps-only", "--quiet", "--resolution", "4", *words]))


@case(OTHERS, "--groups needs at least two groups of at least two participants each")
def _(tmp):
    return plan("--groups", "50"), None


@case(OTHERS, "--studies, --latent-dim, --sites and --spread must be positive, --covariates 0 or more")
def _(tmp):
    return plan("--groups", "20", "20", "--sites", "0"), None


@case(OTHERS, "--nprocs must be 1 or more")
def _(tmp):
    return plan("--groups", "20", "20", "--nprocs", "0"), None


@case(OTHERS, "… participants are more than the … simulated ones")
def _(tmp):
    return plan("--groups", "9000", "9000"), None


@case(OTHERS, "… participants are more than the … that can be drawn")
def _(tmp):
    bank, rng = load_bank(), np.random.default_rng(0)

    def people(n):
        return Scenario((n, n), 0.5, "temporal", 1.0, 1, 0, 8)

    return lambda: draw(bank, people(len(bank)), rng), None


@case(OTHERS, "--nprocs … is out of range.")
def _(tmp):
    return simulated(str(tmp / "s"), "--nprocs", "0"), None


@case(OTHERS, "--region … has no number after '='.")
def _(tmp):
    return lambda: parse_regions(["Hippocampus_L=x"]), lambda: lambda: parse_regions(["Hippocampus_L=0.8"])


@case(OTHERS, "--… … is out of range.")
def _(tmp):
    return lambda: SimulationSettings(sessions=0), lambda: lambda: SimulationSettings(sessions=1)


@case(OTHERS, "The weight of … is out of range.")
def _(tmp):
    bad, good = ({"Hippocampus_L": weight} for weight in (2.0, 0.8))
    return lambda: SimulationSettings(regions=bad), lambda: lambda: SimulationSettings(regions=good)


@case(OTHERS, "Maps cannot be made at … mm.")
def _(tmp):
    return (
        simulated(str(tmp / "s"), "--n-participants", "1", "--resolution", "3"),
        lambda: simulated(str(tmp / "s"), "--n-participants", "1"),
    )


@case(OTHERS, "The atlas has no region called ….")
def _(tmp):
    few = ["--n-participants", "1", "--region"]
    return simulated(str(tmp / "s"), *few, "Hippocampus"), lambda: simulated(str(tmp / "s"), *few, "Hippocampus_L")


@case(OTHERS, "The output folder is not empty.")
def _(tmp):
    written(tmp / "s" / "mine.txt", "x")
    return simulated(str(tmp / "s"), "--n-participants", "1"), lambda: simulated(
        str(tmp / "t"), "--n-participants", "1"
    )


def cohort_case(message, first, second):
    @case(OTHERS, message)
    def _(tmp):
        simulated(str(tmp / "s"), *first)()
        return simulated(str(tmp / "s"), *second), lambda: simulated(str(tmp / "t"), *second)


TWO, ONE = (["--n-participants", n] for n in "21")
cohort_case(
    "The output folder is not empty: it contains a cohort simulated with other settings.", ONE, [*ONE, "--seed", "9"]
)
cohort_case("The output folder is not empty: it contains … participants more than requested.", TWO, ONE)


@case(OTHERS, "The output folder cannot be written: ….")
def _(tmp):
    def write(place):
        with writing_to(tmp):
            place.mkdir()

    file = written(tmp / "file", "")
    return lambda: write(file / "in"), lambda: lambda: write(tmp / "in")
