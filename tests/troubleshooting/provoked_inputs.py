"""Real input that provokes the messages about commands, datasets, tables and scans, and the remedy of each.

Each case is given an empty folder and returns what raises the error, and the remedy: nothing where it takes more than
a test; a function that mends the input, after which the same call works; or one that returns what to call instead.
"""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_app.bids.dataset import check_output, check_work, write_dataset_files
from bids_app.bids.filters import read_filters
from bids_app.bids.participants import _read_sessions, read_participants
from bids_app.bids.query import check_dataset, find_t1w
from bids_app.config import Config, make_config, read_toml
from bids_app.delimited import read_delimited
from bids_app.model.launch import pick_device
from bids_app.participant.inputs import load_t1w
from bids_app.participant.skullstrip import extract_brain
from bids_app.participant.transforms import in_mask
from bids_app.space.templates import get_template
from bids_app.workflows.engine.execute import _plugin

COMMAND, DATASET, TABLES, SCANS = {}, {}, {}, {}


def case(where, *messages):
    """Put a case into a dictionary under its messages."""

    def keep(function):
        for message in messages:
            where[message] = function
        return function

    return keep


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def text_case(where, message, read, bad, good=None, name="file.tsv"):
    """A file whose content is wrong, and one that is right."""

    def provoke(tmp):
        path = written(tmp / name, bad)
        return lambda: read(path), None if good is None else lambda: written(path, good) and None

    where[message] = provoke


def toml(path):
    return read_toml(path)


# --- command line and configuration ---
text_case(COMMAND, "option '…' takes one of …, not '…'", toml, 'architecture = "deep"', 'architecture = "conv"')
text_case(COMMAND, "option '…': …", toml, 'folds = "many"', "folds = 4")
text_case(COMMAND, "the configuration file is not readable TOML: …", toml, "atlas = AAL2", 'atlas = "AAL2"')
text_case(COMMAND, "there is no option called '…'", toml, 'atlass = "AAL2"', 'atlas = "AAL2"')


@case(COMMAND, "the configuration file does not exist")
def _(tmp):
    return lambda: toml(tmp / "c.toml"), lambda: written(tmp / "c.toml", "folds = 4") and None


@case(COMMAND, "--model determines the architecture, so --architecture has no effect")
def _(tmp):
    here = {"bids_dir": tmp, "output_dir": tmp / "out", "analysis_level": "group"}
    given = {"model": tmp, "architecture": "conv"}
    return lambda: make_config(here, given), lambda: lambda: make_config(here, {"model": tmp})


@case(COMMAND, "a folder cannot be used: …")
def _(tmp):
    def make(out):
        return lambda: make_config({"bids_dir": tmp, "output_dir": out, "analysis_level": "group"}, {})

    return make(f"{tmp}/{'x' * 300}/y"), lambda: make(tmp / "out")


@case(COMMAND, "the output folder is the BIDS dataset itself")
def _(tmp):
    return lambda: check_output(tmp, tmp), lambda: lambda: check_output(tmp, tmp / "derivatives" / "latentatlas")


@case(COMMAND, "the output folder lies inside the BIDS dataset")
def _(tmp):
    return lambda: check_output(tmp, tmp / "out"), lambda: lambda: check_output(tmp, tmp / "derivatives" / "la")


@case(COMMAND, "the work folder lies inside the BIDS dataset")
def _(tmp):
    return lambda: check_work(tmp / "bids", tmp / "bids" / "work"), lambda: lambda: check_work(tmp / "bids", tmp / "w")


@case(COMMAND, "the plugin configuration cannot be used (…)")
def _(tmp):
    file = written(tmp / "plugin.yml", "plugin: [")
    config = Config(tmp, tmp, "group", use_plugin=file)
    return (
        lambda: _plugin(config, 1, 1.0),
        lambda: written(file, "{plugin: SLURM, plugin_args: {sbatch_args: '--time 1:00:00'}}") and None,
    )


@case(COMMAND, "There is no device called ….")
def _(tmp):
    return lambda: pick_device("gpu"), lambda: lambda: pick_device("auto")


@case(COMMAND, "No CUDA device is available.")
def _(tmp):
    return lambda: pick_device("cuda"), lambda: lambda: pick_device("auto")


@case(COMMAND, "… is not a template name.")
def _(tmp):
    return lambda: get_template("../MNI", 8.0), lambda: lambda: get_template("MNI152NLin2009aSym", 8.0)


@case(COMMAND, "A template resolution of … mm is out of range.")
def _(tmp):
    return lambda: get_template(resolution=0.001), lambda: lambda: get_template(resolution=8.0)


@case(COMMAND, "The template … has an unknown modifier: ….")
def _(tmp):
    return lambda: get_template("MNI152NLin2009aSym:hemi-L", 8.0), lambda: lambda: get_template(resolution=8.0)


# --- the dataset ---
def dataset(root: Path, *scans: str, description=None) -> Path:
    facts = {"Name": "test", "BIDSVersion": "1.10.0"} if description is None else description
    written(root / "dataset_description.json", json.dumps(facts))
    for scan in scans:
        image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
        (root / scan).parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, root / scan)
    return root


T1W = "sub-01/anat/sub-01_T1w.nii.gz"


@case(DATASET, "the BIDS dataset does not exist")
def _(tmp):
    return lambda: check_dataset(tmp / "bids"), lambda: dataset(tmp / "bids") and None


@case(DATASET, "this is not a BIDS dataset: it has no dataset_description.json")
def _(tmp):
    return lambda: check_dataset(tmp), lambda: dataset(tmp) and None


@case(DATASET, "the dataset description is not readable JSON (…)")
def _(tmp):
    written(tmp / "dataset_description.json", '{"Name": "x",}')
    return lambda: check_dataset(tmp), lambda: lambda: check_dataset(tmp, strict=False)


@case(DATASET, "the dataset description lacks …")
def _(tmp):
    dataset(tmp, description={"Name": "x"})
    return lambda: check_dataset(tmp), lambda: dataset(tmp) and None


FILTER = "the BIDS filter file "
GOOD = '{"t1w": {"acquisition": "mprage"}}'
for message, bad in {
    FILTER + "is not readable (…)": "{t1w: 1}",
    FILTER + "is not a JSON object": "[1]",
    FILTER + "has an unknown …: '…'": '{"t1w": {"acquistion": "mprage"}}',
    "the filters for t1w are not a JSON object": '{"t1w": "mprage"}',
    "regex_search is neither true nor false": '{"t1w": {"regex_search": "yes"}}',
    "only T1w images are used, not … '…'": '{"t1w": {"suffix": "T2w"}}',
    "'…' is not a regular expression (…)": '{"t1w": {"regex_search": true, "acquisition": "mp("}}',
    "the filter '…' is neither a label nor a list of labels: …": '{"t1w": {"acquisition": {"x": 1}}}',
}.items():
    text_case(DATASET, message, read_filters, bad, GOOD, name="filter.json")


@case(DATASET, FILTER + "does not exist")
def _(tmp):
    return lambda: read_filters(tmp / "f.json"), lambda: written(tmp / "f.json", GOOD) and None


# --- tables ---
def table_case(message, bad, good):
    text_case(TABLES, message, read_delimited, bad, good)


table_case("the table is empty", "\n", "a\tb\n")
table_case("this is not a text file: a spreadsheet with the wrong extension?", bytes(range(256)) * 8, "a\tb\n1\t2\n")
table_case("the table has columns without a name: number …", "a\t\tb\n1\t2\t3\n", "a\tc\tb\n1\t2\t3\n")
table_case("the table has several columns called …", "a\ta\n1\t2\n", "a\tb\n1\t2\n")
table_case("the columns are not separated by tabs: the first line is '…'", "a,b\n1,2\n", "a\tb\n1\t2\n")
WHICH = "it is unclear which cell belongs to which column"
table_case(f"the header has … cells, but …: {WHICH}", "a\tb\n1\t2\t3\n", "a\tb\n1\t2\n")
table_case(f"the header has … cells and … blank ones, but …: {WHICH}", "a\tb\t\n1\t2\t3\t4\n", "a\tb\n1\t2\n")


@case(TABLES, "the table does not exist")
def _(tmp):
    return lambda: read_delimited(tmp / "t.tsv"), lambda: written(tmp / "t.tsv", "a\tb\n1\t2\n") and None


@case(TABLES, "the table cannot be used: …")
def _(tmp):
    (tmp / "t.tsv").symlink_to(tmp / "annexed")
    return lambda: read_delimited(tmp / "t.tsv"), lambda: written(tmp / "annexed", "a\tb\n1\t2\n") and None


def participants_case(message, bad, good, **files):
    def provoke(tmp):
        written(tmp / "participants.tsv", bad)
        for name, text in files.items():
            written(tmp / "sub-01" / f"sub-01_{name}.tsv", text)
        return lambda: read_participants(
            [tmp], ["01", "02"], [None, None], [tmp, tmp]
        ), lambda: written(tmp / "participants.tsv", good) and None

    TABLES[message] = provoke


PEOPLE = "participant_id\tage\nsub-01\t30\nsub-02\t40\n"
participants_case(
    "participants.tsv has no column participant_id; it has: …", PEOPLE.replace("participant_id", "id"), PEOPLE
)
participants_case("… has more than one row for: …", PEOPLE + "sub-01\t31\n", PEOPLE)
participants_case(
    "no row of participants.tsv matches any scan: the table has e.g. …, the scans have e.g. …",
    PEOPLE.replace("sub-", "sub-control"),
    PEOPLE,
)


@case(TABLES, "the table of sessions has no column session_id")
def _(tmp):
    # A run says it as a warning, and goes on without what varies by session.
    file = written(tmp / "sub-01_sessions.tsv", "session\tage\nses-1\t30\n")
    return lambda: _read_sessions(file), lambda: written(file, "session_id\tage\nses-1\t30\n") and None


@case(TABLES, "two tables of participants disagree about '…' of …: are these the same people?")
def _(tmp):
    written(tmp / "a" / "participants.tsv", PEOPLE)
    other = written(tmp / "b" / "participants.tsv", PEOPLE.replace("30", "70"))
    homes = [tmp / "a", tmp / "b"]
    return (
        lambda: read_participants(homes, ["01", "01"], [None, None], homes),
        lambda: written(other, PEOPLE) and None,
    )


# --- a scan ---
HEAD = np.random.default_rng(0).normal(100, 20, (40, 40, 40)).astype(np.float32)


def image(path: Path, data=HEAD, affine=None) -> Path:
    nib.save(nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1]) if affine is None else affine), path)
    return path


COLOUR = np.zeros(HEAD.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])


def scan_case(message, make):
    def provoke(tmp):
        path = tmp / "sub-01_T1w.nii.gz"
        make(path)
        return lambda: load_t1w(path), lambda: image(path) and None

    SCANS[message] = provoke


def without_a_form(path):
    raw = bytearray(gzip.decompress(image(path).read_bytes()))
    raw[252:256] = b"\0\0\1\0"  # the sform alone has a code
    raw[280:328] = np.zeros(12, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))


for message, make in {
    "The image cannot be read: ….": lambda p: p.touch(),
    "The image cannot be read; it is damaged, truncated or not NIfTI (…).": lambda p: written(p, b"no image" * 200),
    "The file is not compressed, but its name ends in .nii.gz.": lambda p: p.write_bytes(
        gzip.decompress(image(p).read_bytes())
    ),
    "The image is a colour (RGB) image: a picture of a scan, or of a result.": lambda p: image(p, COLOUR),
    "The image has … dimensions …; a T1w image must have three.": lambda p: image(p, np.stack([HEAD, HEAD], -1)),
    "The image has no finite value.": lambda p: image(p, np.full_like(HEAD, np.nan)),
    "The image is empty: every voxel is zero.": lambda p: image(p, np.zeros_like(HEAD)),
    "The image is constant (or has only a handful of differing voxels).": lambda p: image(p, np.ones_like(HEAD)),
    "The image has only … voxels.": lambda p: image(p, HEAD[:8]),
    "The header does not define the position of the voxels (neither sform nor qform can be used).": without_a_form,
    "The image does not show a whole head at a usable resolution: voxels … mm, field of view … mm.": lambda p: image(
        p, affine=np.eye(4)
    ),
}.items():
    scan_case(message, make)


@case(SCANS, "The file is compressed (gzip), but its name ends in .nii.")
def _(tmp):
    path = image(tmp / "sub-01_T1w.nii.gz").rename(tmp / "sub-01_T1w.nii")
    return lambda: load_t1w(path), lambda: lambda: load_t1w(path.rename(tmp / "sub-01_T1w.nii.gz"))


@case(SCANS, "The scan contains only background.")
def _(tmp):
    flat = nib.Nifti1Image(np.zeros((40, 40, 40), np.float32), np.diag([4.0, 4, 4, 1]))
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 16
    brain = nib.Nifti1Image(ball * HEAD, flat.affine)
    return lambda: extract_brain(flat, "skip"), lambda: lambda: extract_brain(brain, "skip")


@case(SCANS, "No brain was found: the mask contains only … ml.")
def _(tmp):
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0)
    small, large = (nib.Nifti1Image((ball < r) * HEAD, np.diag([4.0, 4, 4, 1])) for r in (5, 16))
    return lambda: extract_brain(small, "skip"), lambda: lambda: extract_brain(large, "skip")


@case(SCANS, "The mask is larger than a brain: … ml.")
def _(tmp):
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 16
    head, brain = (nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1])) for data in (HEAD, ball * HEAD))
    return lambda: extract_brain(head, "skip"), lambda: lambda: extract_brain(brain, "skip")


@case(SCANS, "The brain mask is empty.")
def _(tmp):
    empty, ball = (nib.Nifti1Image((limit < HEAD).astype(np.uint8), np.eye(4)) for limit in (1e9, 100))
    return lambda: in_mask(empty), lambda: lambda: in_mask(ball)


# --- what is told as FAILED before anything runs ---
def unusable_case(message, names, keep):
    def provoke(tmp):
        dataset(tmp, *names)

        def mend():
            for name in names[keep:]:
                (tmp / name).unlink()

        return lambda: find_t1w(tmp).unusable, mend

    DATASET[message] = provoke


unusable_case("several files are this scan", [T1W, "sub-01/anat/sub-01_T1w.nii"], 1)
unusable_case(
    "it is one of the … parts (chunks) of an image", [T1W.replace("_T1w", f"_chunk-{n}_T1w") for n in (1, 2)], 1
)


# --- output ---
@case(COMMAND, "the output folder cannot be created (…)")
def _(tmp):
    file = written(tmp / "file", "")
    return lambda: check_output(tmp / "bids", file / "out"), lambda: lambda: check_output(tmp / "bids", tmp / "out")


@case(COMMAND, "the output folder already holds another dataset: …")
def _(tmp):
    write_dataset_files(tmp / "bids", tmp / "out", {"Name": "first"})
    second = {"Name": "second"}
    return (
        lambda: write_dataset_files(tmp / "bids", tmp / "out", second),
        lambda: lambda: write_dataset_files(tmp / "bids", tmp / "other", second),
    )


@case(COMMAND, "the output's description is not readable JSON (…)")
def _(tmp):
    file = written(tmp / "out" / "dataset_description.json", "{")
    return lambda: write_dataset_files(tmp, tmp / "out", {"Name": "x"}), file.unlink
