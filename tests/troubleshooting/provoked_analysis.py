"""Real input that provokes the messages of the analysis, of models, templates, atlases and the other commands."""

import gzip
import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from provoked_inputs import HEAD, case, dataset, image, written

from bids_app.bids.maps import check_alike, find_maps
from bids_app.config import Config
from bids_app.group.columns import as_numbers
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.harmonise import build_sites
from bids_app.group.study import Design, build_questions
from bids_app.model.calibration import read_calibration, write_calibration
from bids_app.model.crossfit import cross_fit_one, split_participants
from bids_app.model.files import load_model, make_card, save_model
from bids_app.model.grid import Grid, Sampling
from bids_app.model.linear import fit_linear
from bids_app.model.plan import Plan, make_plan
from bids_app.model.volumes import Volumes, build_volumes, load_volumes
from bids_app.participant.encode import encode_scan
from bids_app.participant.precomputed import load_map
from bids_app.planning.bank import Scenario, draw, load_bank
from bids_app.planning.cli import _plan
from bids_app.planning.cli import build_parser as planning_parser
from bids_app.reports.group import build_group_report
from bids_app.reports.participant import build_participant_report
from bids_app.simulate.cli import _run as simulate_run
from bids_app.simulate.cli import build_parser as simulate_parser
from bids_app.simulate.cli import parse_regions
from bids_app.simulate.dataset import Settings
from bids_app.simulate.tables import writing_to
from bids_app.space.atlases import load_atlas, regional_volumes
from bids_app.workflows.group import _ground_truth, _maps
from bids_app.workflows.participant import check_derivatives

GROUPS, SITES, MAPS, ATLASES, MODELS, OUTPUT, OTHERS = {}, {}, {}, {}, {}, {}, {}

# --- columns of the group level ---
TABLE = pd.DataFrame(
    {
        "participant_id": [f"sub-{i:02d}" for i in range(12)],
        "dx": ["AD", "CN", "MCI"] * 4,
        "age": [str(60 + i) for i in range(12)],
        "word": ["x", "y"] * 6,
        "site": ["north", "south"] * 6,
        "empty": [None] * 12,
        "one": ["CN"] * 12,
        "date": [f"{i} May" for i in range(12)],
    }
)


def design_case(message, call, instead, where=GROUPS):
    where[message] = lambda tmp: (call, lambda: instead)


def contrasts(column="dx", *asked):
    return lambda: build_contrasts(TABLE, column, list(asked) or None)


def covariates(*names):
    return lambda: build_covariates(TABLE, list(names))


def questions(**asked):
    return lambda: build_questions(TABLE, Design(**asked))


def numbers(*cells):
    return lambda: as_numbers(pd.DataFrame({"age": list(cells)}), "age", "participants.tsv")


for message, call, instead in (
    ("There is no column '…'", contrasts("diagnosis"), contrasts("dx")),
    ("Column '…' is empty", contrasts("empty"), contrasts("dx")),
    ("Column '…' has one value only (…): there is nothing to compare", contrasts("one"), contrasts("dx")),
    ("Covariate '…' is empty", covariates("age", "empty"), covariates("age")),
    ("Covariate '…' has one value only (…)", covariates("age", "one"), covariates("age")),
    ("Covariate '…' has … categories in … rows", covariates("date"), covariates("age", "word")),
    ("Contrast '…' names a column of text", contrasts("dx", "word"), contrasts("word")),
    ("Contrast '…' is neither a pair of groups nor a numeric column", contrasts("dx", "AD-XX"),
     contrasts("dx", "AD-CN")),
    ("Contrast '…' names groups that are not there: …", contrasts("dx", "CN<XX"), contrasts("dx", "CN<MCI<AD")),
    ("contrasts need --group-column", questions(contrasts=("AD-CN",)), questions(group_column="dx")),
    ("--primary … is none of the contrasts", questions(group_column="dx", primary="CN-AD"),
     questions(group_column="dx", primary="AD-CN")),
    ("column '…' holds numbers, and cells that are none: …", numbers("60", "61", "89+"), numbers("60", "61", None)),
    ("column '…' holds values that seem to stand for a missing one: …", numbers("60", "61", "-999"),
     numbers("60", "61", None)),
):  # fmt: skip
    design_case(message, call, instead)

for message, call, instead in (
    ("--harmonize combat has no sites to harmonise", questions(harmonize="combat"),
     questions(harmonize="combat", site_column="site")),
    ("Column '…' names … site: there is nothing to harmonise", lambda: build_sites(TABLE, "one"),
     lambda: build_sites(TABLE, "site")),
    ("Too few participants to harmonise these sites: …", lambda: build_sites(TABLE, "dx"),
     questions(site_column="dx", harmonize="covariate")),
):  # fmt: skip
    design_case(message, call, instead, SITES)

# --- maps ---
SPACE = "space-MNI152NLin2009aSym_res-8"
NAME = f"sub-{{}}/anat/sub-{{}}_{SPACE}_label-GM_desc-modulated_probseg.nii.gz"
GREY = np.clip(np.random.default_rng(1).normal(0.5, 0.1, (12, 14, 12)), 0, 1).astype(np.float32)
EIGHT = np.diag([8.0, 8, 8, 1])


def a_map(root: Path, label: str, data=GREY, affine=EIGHT, **facts) -> Path:
    path = root / NAME.format(label, label)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    if facts:
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(facts))
    return path


def alike(tmp):
    check_alike(find_maps([tmp]).maps, "choose with --template and --resolution")


@case(MAPS, "the dataset named with --derivatives does not exist")
def _(tmp):
    return lambda: check_derivatives(tmp / "d"), lambda: a_map(tmp / "d", "01") and None


@case(MAPS, "the dataset named with --derivatives holds no map that can be used: …")
def _(tmp):
    image(written(tmp / "sub-01" / "anat" / "sub-01_label-GM_probseg.nii.gz", ""), HEAD)
    return lambda: check_derivatives(tmp), lambda: a_map(tmp, "01") and None


@case(MAPS, "several datasets have maps of …: …; one person or several?")
def _(tmp):
    a_map(tmp / "a", "01"), a_map(tmp / "b", "01")
    return lambda: find_maps([tmp / "a", tmp / "b"]), lambda: lambda: find_maps([tmp / "a"])


@case(MAPS, "CAT12's maps here are modulated for the nonlinear part only (m0wp1): …")
def _(tmp):
    partly = image(written(tmp / "mri" / "m0wp1sub-01_T1w.nii", ""), HEAD)
    return lambda: find_maps([tmp]), lambda: partly.rename(partly.with_name("mwp1sub-01_T1w.nii")) and None


def different(message, others):
    @case(MAPS, message)
    def _(tmp):
        a_map(tmp, "00")
        for label in others:
            odd = a_map(tmp, label)
            odd.rename(odd.with_name(odd.name.replace("_res-8_", "_res-4_")))
        for label in (f"9{n:02d}" for n in range(len(others))):
            a_map(tmp, label)

        def mend():
            for odd in tmp.glob("sub-*/anat/*_res-4_*"):
                odd.unlink()

        return lambda: alike(tmp), mend


different("the maps are of different …: …; …: …", ["01"])
different("the maps are of different …: …; …: … …", [f"{n:02d}" for n in range(1, 13)])


@case(MAPS, "the maps were made …; …")
def _(tmp):
    a_map(tmp, "01", LatentAtlasVersion="0.4.0"), a_map(tmp, "02", LatentAtlasVersion="0.5.0")
    return lambda: alike(tmp), lambda: a_map(tmp, "01", LatentAtlasVersion="0.5.0") and None


@case(MAPS, "there are no grey-matter maps to analyse")
def _(tmp):
    config = Config(dataset(tmp / "bids"), tmp / "out", "group")
    return lambda: _maps(config), lambda: a_map(tmp / "out", "01") and None


@case(MAPS, "The map cannot be read (…).")
def _(tmp):
    path = written(tmp / "map.nii.gz", b"none" * 300)
    return lambda: load_map(path), lambda: image(path, GREY, EIGHT) and None


@case(MAPS, "This is no grey-matter map: ….")
def _(tmp):
    path = image(tmp / "map.nii.gz", 1000 * GREY, EIGHT)
    return lambda: load_map(path), lambda: image(path, GREY, EIGHT) and None


def volumes_case(message, first, second, mended):
    @case(MAPS, message)
    def _(tmp):
        paths = [tmp / "a.nii.gz", tmp / "b.nii.gz"]
        for path, data in zip(paths, (first, second), strict=True):
            written(path, data) if isinstance(data, bytes) else image(path, data, EIGHT)

        def mend():
            for path in paths:
                image(path, mended * (1 + 0.1 * (path.name == "a.nii.gz")), EIGHT)

        return lambda: build_volumes(paths, tmp / "v" / "volumes.npy"), mend


volumes_case("None of the … maps can be read.", b"none" * 300, b"none" * 300, GREY)
volumes_case("Only … of … maps can be used.", GREY, np.full_like(GREY, np.nan), GREY)


@case(MAPS, "The volumes cannot be read: ….")
def _(tmp):
    paths = [image(tmp / f"{name}.nii.gz", GREY, EIGHT) for name in "ab"]
    build_volumes(paths, tmp / "volumes.npy")
    (tmp / "volumes.npy").write_bytes(b"cut off")

    def mend():
        (tmp / "volumes.npy").unlink()
        build_volumes(paths, tmp / "volumes.npy")

    return lambda: load_volumes(tmp / "volumes.npy"), mend


# --- atlases ---
REFERENCE = nib.Nifti1Image(np.ones((20, 20, 20), np.float32), np.diag([4.0, 4, 4, 1]))
LABELS = np.zeros(REFERENCE.shape, np.int16)
LABELS[2:6, 4:16], LABELS[10:14, 4:16] = 1, 2
REGIONS = "index\tname\n1\tLeft\n2\tRight\n"


def atlas_case(message, data=LABELS, table=REGIONS, affine=REFERENCE.affine):
    @case(ATLASES, message)
    def _(tmp):
        path, names = image(tmp / "mine.nii.gz", data, affine), written(tmp / "mine.tsv", table)

        def mend():
            image(path, LABELS, REFERENCE.affine)
            written(names, REGIONS)

        return lambda: load_atlas(str(path), REFERENCE), mend


atlas_case("the atlas has four dimensions …: one probability map a region, no labels", np.stack([LABELS] * 2, -1))
atlas_case("the atlas has the shape …; an image of labels has three dimensions", LABELS[:, :, 0])
atlas_case("the atlas holds negative labels: …", np.where(LABELS == 2, -2, LABELS).astype(np.int16))
atlas_case("the atlas holds labels above …", np.where(LABELS == 2, 2.0**40, LABELS))
atlas_case("the atlas holds values that are no labels: … in … of its voxels", (LABELS * 0.37).astype(np.float32))
atlas_case("the table of an atlas needs the columns index and name; it has …", table="label\tname\n1\tLeft\n2\tRight\n")
atlas_case("the table's column index holds what is no label: …", table="index\tname\none\tLeft\n2\tRight\n")
atlas_case("regions of the atlas have no name: …", table="index\tname\n1\tLeft\n2\tn/a\n")
atlas_case("the atlas's table has more than once the … …", table="index\tname\n1\tArea\n2\tArea\n")
atlas_case("no region can be called …: a column of the tables is", table="index\tname\n1\tparticipant_id\n2\tRight\n")
atlas_case("none of the atlas's labels is in its table: the image has …, the table …", table="index\tname\n7\tLeft\n")
far = REFERENCE.affine.copy()
far[:3, 3] = 5000
atlas_case("no region of the atlas … lies inside the grid of the maps", affine=far)


@case(ATLASES, "the atlas's header does not say where its voxels are")
def _(tmp):
    path = image(tmp / "mine.nii.gz", LABELS, REFERENCE.affine)
    written(tmp / "mine.tsv", REGIONS)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[252:256] = b"\0\0\1\0"  # the sform alone has a code
    raw[280:328] = np.zeros(12, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    return lambda: load_atlas(str(path), REFERENCE), lambda: image(path, LABELS, REFERENCE.affine) and None


@case(ATLASES, "there is no atlas called '…'")
def _(tmp):
    return lambda: load_atlas("AAL9", REFERENCE), lambda: lambda: load_atlas("AAL2", bundled())


@case(ATLASES, "the atlas cannot be read: …")
def _(tmp):
    (tmp / "mine.nii.gz").symlink_to(tmp / "annexed.nii.gz")
    written(tmp / "mine.tsv", REGIONS)
    fetch = lambda: image(tmp / "annexed.nii.gz", LABELS, REFERENCE.affine) and None  # noqa: E731
    return lambda: load_atlas(str(tmp / "mine.nii.gz"), REFERENCE), fetch


@case(ATLASES, "the atlas cannot be read; it is damaged, truncated or no image (…)")
def _(tmp):
    path = written(tmp / "mine.nii.gz", b"no image" * 200)
    written(tmp / "mine.tsv", REGIONS)
    return lambda: load_atlas(str(path), REFERENCE), lambda: image(path, LABELS, REFERENCE.affine) and None


@case(ATLASES, "the atlas has no table of its regions")
def _(tmp):
    path = image(tmp / "mine.nii.gz", LABELS, REFERENCE.affine)
    return lambda: load_atlas(str(path), REFERENCE), lambda: written(tmp / "mine.tsv", REGIONS) and None


@case(ATLASES, "the map has the grid …, the atlas …")
def _(tmp):
    path = image(tmp / "mine.nii.gz", LABELS, REFERENCE.affine)
    written(tmp / "mine.tsv", REGIONS)
    atlas = load_atlas(str(path), REFERENCE)
    other = nib.Nifti1Image(GREY, EIGHT)
    return lambda: regional_volumes([other], atlas), lambda: lambda: regional_volumes([REFERENCE], atlas)


def bundled():
    from bids_app.space.templates import get_template

    return get_template(resolution=8.0).gm


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
    "The model is of format …; this version reads format ….": lambda f: edit(f, format_version=1),
    "The model's description does not say whom it was trained on.": lambda f: edit(f, training={}),
    "… is not the file that … describes.": lambda f: (f / "model.safetensors").write_bytes(b"other"),
    "The model cannot be read: ….": lambda f: reweigh(f, b"no weights at all"),
    "The model's arrays do not fit its grid.": other_grid,
    "There is no model of kind ….": lambda f: edit(f, kind="transformer"),
}.items():

    def provoke(tmp, damage=damage):
        small_model(tmp / "model")
        damage(tmp / "model")
        return lambda: load_model(tmp / "model"), lambda: small_model(tmp / "model") and None

    MODELS[message] = provoke


@case(MODELS, "The models of the folds are not complete, or those of another model.")
def _(tmp):
    small_model(tmp / "model")
    (tmp / "model" / "folds" / "fold-1").rename(tmp / "lost")
    back = tmp / "model" / "folds" / "fold-1"
    return lambda: read_calibration(tmp / "model"), lambda: (tmp / "lost").rename(back) and None


@case(MODELS, "The model was trained in …, the map is in ….")
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


@case(MAPS, "The map cannot be encoded: ….")
def _(tmp):
    _, one = small_model(tmp / "model")
    empty = nib.Nifti1Image(np.zeros(one.shape, np.float32), one.affine)
    return lambda: encode_scan(empty, tmp / "model"), lambda: lambda: encode_scan(one, tmp / "model")


@case(MODELS, "The model was trained on maps of another grid: …, and these are ….")
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


@case(MODELS, "… participants are too few: the smallest training split would hold ….")
def _(tmp):
    return lambda: make_plan(range(4), None), lambda: lambda: make_plan(range(6), None)


@case(MODELS, "Cross-fitting needs at least two participants and two folds.")
def _(tmp):
    return lambda: split_participants(["a"], 5), lambda: lambda: split_participants(["a", "b"], 2)


@case(
    MODELS,
    "Scans of … lie in more than one fold: numbers about unseen participants would come from models that saw them.",
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
@case(OUTPUT, "There are no results of the group level to report.")
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


@case(OTHERS, "--groups needs two groups or more, of two people or more each")
def _(tmp):
    return plan("--groups", "50"), None


@case(OTHERS, "--studies, --latent-dim, --sites and --spread are positive, --covariates is 0 or more")
def _(tmp):
    return plan("--groups", "20", "20", "--sites", "0"), None


@case(OTHERS, "--nprocs is 1 or more")
def _(tmp):
    return plan("--groups", "20", "20", "--nprocs", "0"), None


@case(OTHERS, "… people are more than the … simulated ones")
def _(tmp):
    return plan("--groups", "9000", "9000"), None


@case(OTHERS, "… people are more than the … that can be drawn")
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
    return lambda: Settings(sessions=0), lambda: lambda: Settings(sessions=1)


@case(OTHERS, "The weight of … is out of range.")
def _(tmp):
    bad, good = ({"Hippocampus_L": weight} for weight in (2.0, 0.8))
    return lambda: Settings(regions=bad), lambda: lambda: Settings(regions=good)


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
    "The output folder is not empty: it holds a cohort simulated with other settings.", ONE, [*ONE, "--seed", "9"]
)
cohort_case("The output folder is not empty: it holds … participants more than are asked for.", TWO, ONE)


@case(OTHERS, "The output folder cannot be written: ….")
def _(tmp):
    def write(place):
        with writing_to(tmp):
            place.mkdir()

    file = written(tmp / "file", "")
    return lambda: write(file / "in"), lambda: lambda: write(tmp / "in")
