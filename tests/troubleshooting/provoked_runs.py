"""Messages of whole levels, of templates that have to be fetched, and of engines."""

import os
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import nibabel as nib
import numpy as np
from provoked_analysis import EIGHT, GREY, TABLE, a_map
from provoked_inputs import HEAD, T1W, case, dataset, image, written
from provoked_models import small_model

from bids_app.bids.dataset import check_output
from bids_app.bids.files import write_atomically
from bids_app.bids.maps import find_maps
from bids_app.bids.tables import write_tsv
from bids_app.config import Config
from bids_app.delimited import read_delimited
from bids_app.group.study import Design
from bids_app.model.volumes import build_volumes
from bids_app.participant._ants import plain
from bids_app.participant.skullstrip import extract_brain
from bids_app.participant.tissue import segment_arrays
from bids_app.space import templates
from bids_app.space.aal import fetched_aal
from bids_app.space.templates import get_template
from bids_app.workflows.engine.locks import claim, refuse
from bids_app.workflows.engine.plugin import _explain
from bids_app.workflows.group.group_level import _check
from bids_app.workflows.group.model_steps import apply_model
from bids_app.workflows.participant.participant_level import _sources

LEVELS, TEMPLATES, ENGINES = {}, {}, {}
RANDOM = nib.Nifti1Image(HEAD, np.diag([4.0, 4, 4, 1]))


# --- levels ---
def sources(tmp):
    return lambda: _sources(Config(tmp, tmp / "out", "participant"))


@case(LEVELS, "the dataset has no T1-weighted image that matches the request")
def _(tmp):
    dataset(tmp, "sub-01/anat/sub-01_T2w.nii.gz")
    return sources(tmp), lambda: dataset(tmp, T1W) and None


def empty_files(message, count):
    @case(LEVELS, message)
    def _(tmp):
        names = [T1W.replace("01", f"{n:02d}") for n in range(1, count + 1)]
        dataset(tmp, *names)
        for name in names:
            (tmp / name).write_bytes(b"")
        return sources(tmp), lambda: dataset(tmp, names[0]) and None


empty_files("none of the requested scans can be used …", 2)
empty_files("none of the requested scans can be used … … and … more", 12)


@case(
    LEVELS,
    "the name of this CAT12 map does not identify the scan: rename it after its scan, as CAT12 does for BIDS input "
    "(mwp1sub-01[_ses-1]_T1w.nii)",
)
def _(tmp):
    nameless = image(written(tmp / "mri" / "mwp1brain.nii", ""), GREY, EIGHT)
    return lambda: find_maps([tmp]).unusable, lambda: nameless.rename(tmp / "mri" / "mwp1sub-01_T1w.nii") and None


@case(LEVELS, "there is no group '…' to serve as the reference")
def _(tmp):
    a_map(tmp, "01")
    maps, design = find_maps([tmp]).maps, Design(group_column="dx")

    def check(group):
        return lambda: _check(Config(tmp, tmp, "group", reference_group=group, group_column="dx"), maps, TABLE, design)

    return check("HC"), lambda: check("CN")


def applied(tmp, space, dataset_name):
    """The group level's step that encodes a cohort with a model from elsewhere."""
    maps, _ = small_model(tmp / "model")
    grid = maps.grid
    paths = [tmp / f"{n}.nii.gz" for n in range(6)]
    for n, path in enumerate(paths):
        nib.save(grid.to_image(maps.rows(np.array([n]))[0]), path)
    build_volumes(paths, tmp / "volumes.npy", grid=grid)
    write_tsv(tmp / "cohort.tsv", TABLE[["participant_id"]].iloc[:6])
    np.save(tmp / "fold.npy", np.arange(6) % 2)
    given = {"volumes": tmp / "volumes.npy", "cohort": tmp / "cohort.tsv", "fold": tmp / "fold.npy"}
    return lambda: apply_model.function(
        tmp, **given, model=str(tmp / "model"), dataset=dataset_name, space=space, random_seed=0
    )


@case(LEVELS, "the model was trained on maps in …, but these are in …")
def _(tmp):
    return applied(tmp, "OtherSpace", "y"), lambda: applied(tmp, "PhantomSpace", "y")


@case(LEVELS, "… of the participants were in the training cohort of this model: … ...")
def _(tmp):
    return applied(tmp, "PhantomSpace", "x"), lambda: applied(tmp, "PhantomSpace", "y")


@case(LEVELS, "another run is working on …: …")
def _(tmp):
    other = ExitStack()
    other.enter_context(claim(["sub-01"], [tmp]))

    def start():
        with claim(["sub-01"], [tmp]) as taken:
            if taken:
                raise refuse("sub-01", taken["sub-01"])

    return start, other.close


@case(LEVELS, "the output cannot be written (…)")
def _(tmp):
    file = written(tmp / "file", "")

    def write(place):
        return lambda: write_atomically(place, lambda p: p.touch()) and None

    return write(file / "in"), lambda: write(tmp / "in")


@case(LEVELS, "the output folder cannot be written")
def _(tmp):
    # Root may write everywhere: the system's answer for anybody else.
    refused = patch("bids_app.bids.dataset.os.access", lambda path, mode: path != tmp / "mine")

    def check(out):
        with refused:
            check_output(tmp / "bids", out)

    return lambda: check(tmp / "mine"), lambda: lambda: check(tmp / "other")


@case(LEVELS, "the table cannot be read (…)")
def _(tmp):
    file = written(tmp / "t.tsv", "a\tb\n1\t2\n")

    def read():
        with patch.object(Path, "read_bytes", side_effect=OSError(5, "Input/output error")):
            read_delimited(file)

    return read, lambda: lambda: read_delimited(file)


# --- templates ---
def forget():
    """What earlier cases have read of a template of the same name."""
    get_template.cache_clear()
    templates._native.cache_clear()


def archive(tmp, name="Phantom", prefixes=("res-01",), damaged=(), absent=()):
    """A TemplateFlow home with a template of made-up maps."""
    forget()
    os.environ |= {"TEMPLATEFLOW_HOME": str(tmp), "TEMPLATEFLOW_AUTOUPDATE": "0", **NOWHERE}
    r = np.linalg.norm(np.indices((20, 24, 22)).T - [9.5, 11.5, 10.5], axis=-1).T / 10
    maps = {"T1w": r < 0.95, "desc-brain_mask": r < 0.8, "label-GM_probseg": (r > 0.5) & (r < 0.7),
            "label-WM_probseg": r <= 0.5, "label-CSF_probseg": (r >= 0.7) & (r < 0.8)}  # fmt: skip
    for prefix in prefixes:
        folder = tmp / f"tpl-{name}" / (prefix.split("_")[0] if "cohort" in prefix else "")
        for suffix, data in maps.items():
            path = folder / f"tpl-{name}_{prefix}_{suffix}.nii.gz"
            if suffix in damaged:
                written(path, b"cut off" * 300)
            elif suffix not in absent:
                image(written(path, ""), 100 * data.astype(np.float32), np.diag([-8.0, 8, 8, 1]))


#: A proxy at which nobody listens: there is no network, and one knows it at once.
NOWHERE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")


def template_case(message, asked, instead, mend=None, **made):
    @case(TEMPLATES, message)
    def _(tmp):
        archive(tmp, **made)

        def remedy():
            archive(tmp, **{**made, "damaged": (), "absent": ()})
            return lambda: get_template(instead, 8.0)

        return lambda: get_template(asked, 8.0), remedy


CHILDREN = {"prefixes": ("cohort-1_res-1", "cohort-2_res-1")}
template_case("TemplateFlow has no T1w template called ….", "PhantomNone", "Phantom")
template_case("Template … has no resolution ….", "Phantom:res-7", "Phantom:res-1")
template_case("Template … has no cohort ….", "Phantom:cohort-9", "Phantom:cohort-1", **CHILDREN)
template_case("Template … comes in several cohorts.", "Phantom", "Phantom:cohort-2", **CHILDREN)
template_case("The … of template … is damaged (…).", "Phantom", "Phantom", damaged=["label-WM_probseg"])
template_case(
    "TemplateFlow has no … for template …, which tissue segmentation needs.",
    "Phantom",
    "Phantom",
    absent=["label-WM_probseg"],
)


@case(TEMPLATES, "TemplateFlow cannot be read: …")
def _(tmp):
    file = written(tmp / "file", "")
    archive(tmp)
    os.environ["TEMPLATEFLOW_HOME"] = str(file / "home")

    def mend():
        os.environ["TEMPLATEFLOW_HOME"] = str(tmp)

    return lambda: get_template("Phantom", 8.0), mend


@case(TEMPLATES, "The template … is not cached.")
def _(tmp):
    os.environ |= {"TEMPLATEFLOW_HOME": str(tmp), "TEMPLATEFLOW_AUTOUPDATE": "0"}
    forget()
    return lambda: get_template("Phantom", 8.0, fetch=False), lambda: archive(tmp)


@case(TEMPLATES, "The … of template … is not cached and could not be fetched (…).")
def _(tmp):
    archive(tmp)
    wanted = next((tmp / "tpl-Phantom").glob("*WM_probseg*"))
    wanted.write_bytes(b"")  # known to the archive, not fetched
    return lambda: get_template("Phantom", 8.0), lambda: archive(tmp)


@case(TEMPLATES, "the atlas … is not on this machine and could not be downloaded (…)")
def _(tmp):
    os.environ |= {"NILEARN_DATA": str(tmp), "NILEARN_SHARED_DATA": str(tmp), **NOWHERE}
    return lambda: fetched_aal("AAL3"), None


# --- engines ---
@case(ENGINES, "No brain was found (…).")
def _(tmp):
    return lambda: extract_brain(nib.Nifti1Image(np.zeros_like(HEAD), RANDOM.affine), "force"), None


@case(ENGINES, "White matter is dark in this scan.")
def _(tmp):
    inside = np.linalg.norm(np.indices((30, 30, 30)) - 14.5, axis=0) < 13
    middle = inside & (np.linalg.norm(np.indices((30, 30, 30)) - 14.5, axis=0) < 8)
    priors = np.stack([0.02 * inside, np.where(middle, 0.03, 0.95) * inside, np.where(middle, 0.95, 0.03) * inside])
    priors = priors.astype(np.float32)
    bright = (np.where(middle, 500, 300) + np.random.default_rng(0).normal(0, 10, inside.shape)).astype(np.float32)

    def segmented(data):
        return lambda: segment_arrays(
            data * inside, inside, priors, np.zeros(inside.shape, np.float32), np.full(3, 4.0)
        )

    return segmented(bright - 700), lambda: segmented(bright)


@case(ENGINES, "ANTs cannot use a folder whose name contains brackets, commas, spaces or non-ASCII letters.")
def _(tmp):
    def name(folder):
        # No other place may be written, where a link with a plain name could lie.
        with patch("tempfile.mkdtemp", side_effect=OSError), plain(folder) as found:
            return found

    return lambda: name(tmp / "a [b], c"), lambda: lambda: name(tmp / "abc")


@case(ENGINES, "the step could not be run (…)")
def _(tmp):
    def hand_back():
        raise _explain(OSError("the result cannot be sent"), tmp)

    return hand_back, None


#: Message -> the test, in its file, that provokes it by whole runs or engines.
ELSEWHERE = {
    "The registration to … failed (…).":
        "participant/test_normalize.py::test_a_field_that_is_no_number_is_an_error_of_the_scan",
    "By the orientation in its header the head lies …: turned, it resembles the template much more (r = …, not …).":
        "participant/test_upright.py::test_a_turned_head_is_refused_with_what_is_wrong",
    "The template's white matter hardly overlaps the brain of this scan.":
        "participant/test_tissue.py::test_no_template_white_matter_in_the_mask_is_an_error",
    "the step was killed from outside (…), most likely because memory ran out":
        "workflows/engine/test_interface.py::test_a_killed_worker_fails_its_own_step_only",
    "So much atrophy cannot be planted in these … regions together: there is too little cerebrospinal fluid near … to "
    "fill the space.": "simulate/test_simulate_head.py::test_more_atrophy_than_there_is_room_for",
    "volumes are missing in …": "group/test_group_vectors.py::test_tables_that_cannot_serve_are_refused",
    "all participants have the same volume of …":
        "group/test_group_vectors.py::test_tables_that_cannot_serve_are_refused",
    "So much atrophy would fold the head of participant ….": "simulate/test_simulate_head.py::test_a_fold_is_refused",
}  # fmt: skip
