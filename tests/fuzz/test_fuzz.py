"""Whatever a lab has: never a traceback or a hang, every error of the declared kinds, valid data read back as written.

``make test`` tries 200 examples, ``make fuzz`` ten times as many and whole commands. What is found becomes a fixed case
in the tests of the module that was wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from strategies import (
    DESCRIPTION,
    FAULTY_CELLS,
    FILTERS,
    JSON,
    LABELS,
    NUMBERS,
    damaged_images,
    image_bytes,
    plant,
    tables,
    trees,
)

from bids_app.bids.dataset import check_output, check_work, write_dataset_files
from bids_app.bids.filters import read_filters
from bids_app.bids.participants import read_participants
from bids_app.bids.query import check_dataset
from bids_app.bids.tables import read_tsv, write_tsv
from bids_app.cli import main, parse
from bids_app.errors import LatentAtlasError
from bids_app.group.study import Design, build_questions, doubtful_categories
from bids_app.participant.inputs import read_t1w
from bids_app.participant.precomputed import load_map
from bids_app.space.atlas_loaders import load_atlas
from bids_app.space.templates import get_template
from bids_app.workflows.group import group_level
from bids_app.workflows.participant import participant_level
from bids_app.workflows.participant.scan_graph import init_participant_wf

CODES = (1, 2, 65, 66, 69, 73, 78)
#: How many times 200 examples.
TIMES = int(os.environ.get("LATENTATLAS_FUZZ", "1"))


def examples(share: int):
    """Settings of a test that makes this many of the 200 examples."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=share * TIMES, deadline=None, derandomize=TIMES == 1, suppress_health_check=quiet)


@contextmanager
def folder(seconds: int = 20):
    """An empty folder; what takes longer than this hangs."""

    def stop(*_):
        raise AssertionError(f"nothing came back for {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        yield place
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def declared():
    """Errors that a user can mend say what is wrong; anything else is a defect."""
    try:
        yield
    except LatentAtlasError as error:
        if not error.problem or error.exit_code not in CODES or len(str(error)) > 4000:
            raise AssertionError(f"an error that helps nobody: {error!r}") from error


@examples(40)
@given(tables(), st.sampled_from(["age", "group", "sex", "note"]), st.sampled_from(["age", "group", "sex"]))
def test_any_table(content, column, covariate):
    with folder() as place, declared():
        (place / "participants.tsv").write_bytes(content)
        labels = ["01", "1", "a", "A", "a+b", "02"]
        cohort = read_participants([place], labels, [None] * len(labels))
        assert list(cohort["participant_id"]) == [f"sub-{label}" for label in labels]
        design = Design(group_column=column, covariates=(covariate,))
        doubtful_categories(cohort, design, build_questions(cohort, design))


@examples(30)
@given(
    st.lists(LABELS, min_size=1, max_size=6, unique=True),
    st.lists(st.one_of(st.none(), NUMBERS), min_size=6, max_size=6),
    st.lists(st.one_of(st.none(), FAULTY_CELLS), min_size=6, max_size=6),
)
def test_a_valid_table_is_read_back_as_written(labels, numbers, texts):
    texts = [None if text is None or text.strip() in ("", "n/a") else text.strip() for text in texts]
    written = pd.DataFrame(
        {
            "participant_id": [f"sub-{label}" for label in labels],
            "score": pd.Series(numbers[: len(labels)], dtype=float),
            "note": pd.Series([*texts[: len(labels) - 1], "some text"], dtype="str"),
        }
    )
    with folder() as place:
        found = read_tsv(write_tsv(place / "participants.tsv", written))
        pd.testing.assert_frame_equal(found, written, check_dtype=False)
        joined = read_participants([place], labels, [None] * len(labels))
        pd.testing.assert_series_equal(joined["score"], written["score"], check_dtype=False)


def build(config):
    """All that the participant level does before the first step runs."""
    description = check_dataset(config.bids_dir, strict=not config.skip_bids_validation)
    check_output(config.bids_dir, config.output_dir)
    check_work(config.bids_dir, config.work_dir)
    write_dataset_files(config.bids_dir, config.output_dir, description)
    found = participant_level._sources(config)
    labels = participant_level.space_labels(config)
    todo = [scan for scan in found.scans if not participant_level._finished(config, scan, labels)]
    return found, init_participant_wf(config, todo, labels=labels, n_threads=1)


@examples(40)
@given(trees(), st.lists(LABELS, max_size=2), st.one_of(st.none(), FILTERS), st.booleans())
def test_any_tree_up_to_the_graph(tree, labels, filters, skip):
    with folder() as place, declared():
        plant(tree, place / "ses-9" / "bids")
        arguments = [place / "ses-9" / "bids", place / "out", "participant", "-w", place / "w"]
        if labels:
            arguments += ["--participant-label", *labels]
        if filters:
            (place / "filter.json").write_bytes(filters)
            arguments += ["--bids-filter-file", place / "filter.json"]
        found, graph = build(parse([*map(str, arguments), *(["--skip-bids-validation"] if skip else [])]))
        assert len({scan.prefix for scan in found.scans}) == len(found.scans)
        assert len(graph.list_node_names()) == 9 * len(found.scans)
        asked = {scan.subject for scan in found.scans} | {item.subject for item in found.unusable}
        assert set(labels) <= asked  # nobody who was asked for is passed over in silence
        for scan in found.scans:
            assert scan.path.is_file()
            assert f"sub-{scan.subject}" in scan.path.parts


@examples(10)
@given(FILTERS)
def test_any_filter(content):
    with folder() as place, declared():
        (place / "filter.json").write_bytes(content)
        read_filters(place / "filter.json").take({"subject": "01", "run": "1"})


@examples(30)
@given(damaged_images())
def test_any_header(image):
    extension, content = image
    with folder() as place:
        path = place / f"sub-01_T1w{extension}"
        path.write_bytes(content)
        with declared():
            found = read_t1w(path)
            assert np.isfinite(found.image.get_fdata()).all()
            assert np.isfinite(found.image.affine).all()
        with declared():
            load_map(path)


GRID = nib.Nifti1Image(np.zeros((24, 24, 24), np.float32), np.diag([8.0, 8, 8, 1]))


@examples(25)
@given(
    damaged_images(image_bytes((24, 24, 24), np.int16, np.diag([8.0, 8, 8, 1]), seed=1)),
    st.one_of(tables(), st.just(b"index\tname\n" + b"".join(b"%d\tregion %d\n" % (n, n) for n in range(1, 100)))),
    st.sampled_from([".tsv", ".tsv", ".csv"]),
)
def test_any_atlas(image, table, suffix):
    extension, content = image
    with folder() as place, declared():
        (place / f"mine{extension}").write_bytes(content)
        (place / f"mine{suffix}").write_bytes(table)
        found = load_atlas(place / f"mine{extension}", GRID)
        assert set(found.table["index"]) <= set(np.unique(np.asarray(found.image.dataobj)))
        assert found.table["name"].is_unique


_GREY = get_template(resolution=8.0).gm
GREY = nib.Nifti1Image(0.7 * _GREY.get_fdata(dtype=np.float32), _GREY.affine).to_bytes()
MAP_NAMES = ["space-MNI152NLin2009aSym_res-8_label-GM_desc-modulated", "space-MNI152NLin2009cAsym_label-GM",
             "space-MNI152NLin2009aSym_label-GM", "label-GM"]  # fmt: skip


@st.composite
def derivatives(draw):
    """Datasets of maps with faults of their own."""
    made = []
    for _ in range(draw(st.integers(1, 2))):
        files, sidecars = {}, {}
        for label in draw(st.lists(LABELS, max_size=5, unique=True)):
            stem = f"sub-{label}/anat/sub-{label}_{draw(st.sampled_from(MAP_NAMES))}_probseg"
            files[stem + ".nii.gz"] = draw(st.sampled_from(["image", "image", "image", "empty", "link", "text"]))
            keys = st.sampled_from(["QualityVerdict", "QualityReasons", "TIV", "LatentAtlasVersion", "JacobianRange"])
            told = st.dictionaries(keys, JSON).map(lambda facts: json.dumps(facts).encode())
            sidecars[stem + ".json"] = draw(st.one_of(st.none(), told, st.just(b"{")))
        top = {"participants.tsv": draw(st.one_of(st.none(), tables())), "dataset_description.json": DESCRIPTION}
        made.append({"files": files, "top": top, "sidecars": sidecars})
    return made


def plant_maps(made, place):
    for number, tree in enumerate(made):
        plant(tree, place / f"d{number}", GREY)
        for name, content in tree["sidecars"].items():
            if content is not None:
                (place / f"d{number}" / name).write_bytes(content)
    return [place / f"d{number}" for number in range(len(made))]


@examples(25)
@given(derivatives(), trees())
def test_any_maps_up_to_the_graph(made, tree):
    with folder(60) as place:
        roots = plant_maps(made, place)
        plant(tree, place / "bids")
        common = [
            place / "bids",
            place / "out",
            "participant",
            "-w",
            place / "w",
            "--skip-bids-validation",
            "-d",
            *roots,
        ]
        with declared():
            found, _ = build(parse([str(a) for a in (*common, "-d", *roots)]))
            assert len({scan.prefix for scan in found.scans}) == len(found.scans)
        with declared():
            config = parse([str(a) for a in (place / "bids", place / "out", "group", "-d", *roots, "-w", place / "w")])
            maps, _ = group_level._maps(config)
            kept, sidecars, _ = group_level._trusted(maps)
            cohort = group_level._cohort(config, kept, sidecars)
            assert len(cohort) == len(kept)
            group_level._write_quality(config, cohort, sidecars)


@pytest.mark.fuzz
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    derivatives(),
    trees(),
    damaged_images(),
    st.one_of(*[st.none()] * 4, FILTERS),
    st.sampled_from([True] * 4 + [False]),
)
def test_whole_commands(made, tree, image, filters, skip):
    with folder(200) as place:
        roots = plant_maps(made, place)
        plant(tree, place / "bids")
        if tree["files"]:
            first = place / "bids" / sorted(tree["files"])[0]
            if first.is_file() and os.access(first, os.W_OK):
                first.write_bytes(image[1])
        command = [place / "bids", place / "out", "participant", "--sloppy", "-w", place / "w", "--nprocs", "1"]
        if skip:
            command += ["--skip-bids-validation"]
        if made[0]["files"]:
            command += ["-d", roots[0]]
        if filters:
            (place / "filter.json").write_bytes(filters)
            command += ["--bids-filter-file", place / "filter.json"]
        code = main([str(a) for a in command])
        event(f"exit code {code}")
        assert code in (0, *CODES)
