"""Real input that provokes the messages about columns, sites, maps and atlases."""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from provoked_inputs import HEAD, case, dataset, image, written

from bids_app.bids.alike import check_alike
from bids_app.bids.maps import find_maps
from bids_app.config import Config
from bids_app.group.column_values import as_numbers
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.harmonise import build_sites
from bids_app.group.study import Design, build_questions
from bids_app.model.volumes import build_volumes, load_volumes
from bids_app.participant.precomputed import load_map
from bids_app.space.atlas_loaders import load_atlas, regional_volumes
from bids_app.workflows.given_maps import check_derivatives
from bids_app.workflows.group.group_level import _maps

GROUPS, SITES, MAPS, ATLASES = {}, {}, {}, {}

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
    ("Column '…' has only one value (…): there is nothing to compare", contrasts("one"), contrasts("dx")),
    ("Covariate '…' is empty", covariates("age", "empty"), covariates("age")),
    ("Covariate '…' has only one value (…)", covariates("age", "one"), covariates("age")),
    ("Covariate '…' has … categories in … rows", covariates("date"), covariates("age", "word")),
    ("Contrast '…' names a column of text", contrasts("dx", "word"), contrasts("word")),
    ("Contrast '…' is neither a pair of groups nor a numeric column", contrasts("dx", "AD-XX"),
     contrasts("dx", "AD-CN")),
    ("Contrast '…' names groups that do not exist: …", contrasts("dx", "CN<XX"), contrasts("dx", "CN<MCI<AD")),
    ("contrasts need --group-column", questions(contrasts=("AD-CN",)), questions(group_column="dx")),
    ("--primary … is not one of the contrasts", questions(group_column="dx", primary="CN-AD"),
     questions(group_column="dx", primary="AD-CN")),
    ("column '…' contains numbers and cells that are not numbers: …", numbers("60", "61", "89+"),
     numbers("60", "61", None)),
    ("column '…' contains values that look like codes for missing values: …", numbers("60", "61", "-999"),
     numbers("60", "61", None)),
):  # fmt: skip
    design_case(message, call, instead)

for message, call, instead in (
    ("--harmonize combat needs sites", questions(harmonize="combat"),
     questions(harmonize="combat", site_column="site")),
    ("Column '…' has … site: there is nothing to harmonise", lambda: build_sites(TABLE, "one"),
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


@case(MAPS, "the dataset given with --derivatives does not exist")
def _(tmp):
    return lambda: check_derivatives(tmp / "d"), lambda: a_map(tmp / "d", "01") and None


@case(MAPS, "the dataset given with --derivatives has no usable map: …")
def _(tmp):
    image(written(tmp / "sub-01" / "anat" / "sub-01_label-GM_probseg.nii.gz", ""), HEAD)
    return lambda: check_derivatives(tmp), lambda: a_map(tmp, "01") and None


@case(MAPS, "several datasets have maps of …: …; are they the same person?")
def _(tmp):
    a_map(tmp / "a", "01"), a_map(tmp / "b", "01")
    return lambda: find_maps([tmp / "a", tmp / "b"]), lambda: lambda: find_maps([tmp / "a"])


@case(MAPS, "these CAT12 maps are modulated only for the nonlinear part (m0wp1): …")
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


@case(MAPS, "This is not a grey-matter map: ….")
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


atlas_case("the atlas has four dimensions …: probability maps per region, not labels", np.stack([LABELS] * 2, -1))
atlas_case("the atlas has the shape …; an image of labels must have three dimensions", LABELS[:, :, 0])
atlas_case("the atlas contains negative labels: …", np.where(LABELS == 2, -2, LABELS).astype(np.int16))
atlas_case("the atlas contains labels above …", np.where(LABELS == 2, 2.0**40, LABELS))
atlas_case("the atlas contains values that are not labels: … in … of its voxels", (LABELS * 0.37).astype(np.float32))
atlas_case("the table of an atlas needs the columns index and name; it has …", table="label\tname\n1\tLeft\n2\tRight\n")
atlas_case(
    "the column index of the table contains values that are not labels: …", table="index\tname\none\tLeft\n2\tRight\n"
)
atlas_case("regions of the atlas have no name: …", table="index\tname\n1\tLeft\n2\tn/a\n")
atlas_case("the atlas's table has duplicates of the … …", table="index\tname\n1\tArea\n2\tArea\n")
atlas_case(
    "no region can be called …, because a column of the tables has that name",
    table="index\tname\n1\tparticipant_id\n2\tRight\n",
)
atlas_case("none of the atlas's labels is in its table: the image has …, the table …", table="index\tname\n7\tLeft\n")
far = REFERENCE.affine.copy()
far[:3, 3] = 5000
atlas_case("no region of the atlas … lies inside the grid of the maps", affine=far)


@case(ATLASES, "the header of the atlas does not define the position of its voxels")
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


@case(ATLASES, "the atlas cannot be read; it is damaged, truncated or not an image (…)")
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
