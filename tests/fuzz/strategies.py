"""Strategies for what labs really have: datasets, tables, headers, atlases, filters, right ones and faulty ones."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import strategies as st

LABELS = st.sampled_from(["01", "1", "001", "a", "A", "a+b", "02", "s1", "10"])
ODD_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t\0"), max_size=8)
NUMBERS = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.5g}"))
NO_CELL = "\t\"'\\ \u00a0,;n/aNA.-?+<>0123456789eE"
FAULTY_CELLS = st.one_of(
    st.text(NO_CELL, max_size=6),
    st.sampled_from(
        ["n/a", "", " ", "NA", "none", "89+", ">89", "-999", "999", "30,5", '"', '""', '"a', 'a"', "1_0", "inf"]
    ),
    ODD_TEXT,
    NUMBERS.map(str),
)


def image_bytes(shape=(4, 4, 4), dtype=np.float32, affine=None, seed=0) -> bytes:
    """A NIfTI file in memory."""
    data = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    return nib.Nifti1Image(data, np.eye(4) if affine is None else affine).to_bytes()


WHOLE = image_bytes((30, 30, 30), np.int16, np.diag([5.0, 5, 5, 1]))  # 150 mm: a head would fit


@st.composite
def damaged_images(draw, whole: bytes = WHOLE) -> tuple[str, bytes]:
    """Extension and bytes of an image whose header, length or packing was changed at random."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        field, size = draw(st.sampled_from(FIELDS))
        content[field : field + size] = draw(st.one_of(st.binary(min_size=size, max_size=size), plausible(size)))
    for _ in range(draw(st.integers(0, 2))):
        content[draw(st.integers(0, 351))] = draw(st.integers(0, 255))
    length = draw(st.sampled_from([None, None, None, 0, 1, 100, 348, 352, 400, len(content) - 1]))
    packed = bytes(content[:length])
    if draw(st.booleans()):
        packed = gzip.compress(packed, 1)
        cut = draw(st.sampled_from([None, None, None, 5, 20, len(packed) // 2, len(packed) - 2]))
        return ".nii.gz", packed[:cut]
    return draw(st.sampled_from([".nii", ".nii", ".nii", ".nii.gz"])), packed


#: Offset and size of the fields of a NIfTI-1 header that decide how it is read.
FIELDS = [(0, 4), (40, 2), (42, 2), (44, 2), (48, 2), (50, 2), (70, 2), (72, 2), (76, 4), (80, 4), (88, 4), (108, 4),
          (112, 4), (116, 4), (123, 1), (252, 2), (254, 2), (256, 4), (260, 4), (264, 4), (280, 4), (296, 4), (312, 4),
          (344, 4)]  # fmt: skip


def plausible(size: int):
    """Values that programs write into such a field."""
    values = [0, 1, -1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1280, 1792, 2304, 32767, -32768]
    if size == 4:
        floats = [0.0, 1.0, -1.0, np.nan, np.inf, 1e-30, 1e30, 352.0, 8 / 32767, 1.0001]
        return st.one_of(
            st.sampled_from(floats).map(lambda v: np.float32(v).tobytes()),
            st.sampled_from(values).map(lambda v: np.int32(v).tobytes()),
        )
    if size == 2:
        return st.sampled_from(values).map(lambda v: np.int16(v).tobytes())
    return st.integers(0, 255).map(lambda v: bytes([v]))


@st.composite
def tables(draw, ids=LABELS) -> bytes:
    """``participants.tsv`` with the faults that tables have."""
    columns = [
        "participant_id",
        *draw(st.lists(st.sampled_from(["age", "group", "sex", "note", "age ", ""]), max_size=4)),
    ]
    rows = [columns]
    for _ in range(draw(st.integers(0, 8))):
        prefix = draw(st.sampled_from(["sub-", "", "Sub-", " sub-"]))
        rows.append([prefix + draw(ids), *(draw(FAULTY_CELLS) for _ in columns[1:])])
    lines = ["\t".join(row) + draw(st.sampled_from(["", "", "", "\t", "\t\t", "\tx"])) for row in rows]
    lines += draw(st.lists(st.sampled_from(["", "\t\t", "  ", "sub-", "#"]), max_size=2))
    text = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])).join(lines)
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"])), "replace")
    if draw(st.integers(0, 5)) == 0:
        content = bytearray(content)
        for _ in range(draw(st.integers(1, 5))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 300), st.floats(allow_nan=False), ODD_TEXT, LABELS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ODD_TEXT, inner, max_size=3)),
    max_leaves=6,
)
_KEYS = st.sampled_from(
    ["acq", "acquisition", "ses", "session", "run", "suffix", "datatype", "regex_search", "x", "T1w"]
)
FILTERS = st.one_of(
    st.dictionaries(
        st.sampled_from(["t1w", "t1w", "T1w", "bold"]), st.dictionaries(_KEYS, JSON, max_size=3), max_size=2
    ),
    JSON,
).map(lambda content: json.dumps(content).encode())

_ENTITIES = ["", "_acq-a", "_acq-b+c", "_rec-norm", "_ce-gd", "_run-1", "_run-01", "_echo-1", "_echo-2", "_part-phase",
             "_chunk-1", "_foo-bar", "_acq-a_run-2", "_run-1_acq-a", "_acq-x_y"]  # fmt: skip
_ENDINGS = [
    "_T1w.nii.gz",
    "_T1w.nii.gz",
    "_T1w.nii",
    "_T1w.json",
    "_T1w_copy.nii.gz",
    "_t1w.nii.gz",
    "_T2w.nii.gz",
    "_T1w.nii.gz.part",
]
_KINDS = ["image", "image", "image", "empty", "pointer", "link", "folder", "text", "secret", "pipe"]


_PATTERNS = st.lists(st.sampled_from(["*_acq-a*", "sub-01/", "!x", "[", "**", "\\"]), max_size=2).map(
    lambda lines: "\n".join(lines).encode()
)
DESCRIPTION = json.dumps({"Name": "toy", "BIDSVersion": "1.10.0"}).encode()
_DESCRIPTIONS = [DESCRIPTION, DESCRIPTION, DESCRIPTION, b"\xef\xbb\xbf" + DESCRIPTION, b"[]", b"{",
                 b'{"Name": 1, "BIDSVersion": 2}', None]  # fmt: skip


def _written(content: object) -> bytes:
    return json.dumps(content).encode()


@st.composite
def trees(draw) -> dict:
    """A BIDS tree: path -> kind of file, and the files at the top."""
    files: dict[str, str] = {}
    for _ in range(draw(st.integers(0, 6))):
        label, session = draw(LABELS), draw(st.sampled_from(["", "", "1", "2", "a+"]))
        home = f"sub-{label}/" + (f"ses-{session}/" if session else "")
        named = draw(st.sampled_from([label, label, label, label, "99"]))
        stem = f"sub-{named}" + (f"_ses-{session}" if session and draw(st.integers(0, 9)) else "")
        place = draw(st.sampled_from(["anat/", "anat/", "anat/", "anat/backup/", "", "func/"]))
        name = stem + draw(st.sampled_from(_ENTITIES)) + draw(st.sampled_from(_ENDINGS))
        files[home + place + name] = draw(st.sampled_from(_KINDS))
    top = {
        "participants.tsv": draw(st.one_of(st.none(), tables())),
        "participants.json": draw(st.one_of(st.none(), JSON.map(_written), st.binary(max_size=9))),
        ".bidsignore": draw(st.one_of(st.none(), _PATTERNS, st.binary(max_size=9))),
        "dataset_description.json": draw(st.sampled_from(_DESCRIPTIONS)),
    }
    return {"files": files, "top": top}


def plant(tree: dict, root: Path, content: bytes | None = None) -> None:
    """Write a tree."""
    root.mkdir(parents=True, exist_ok=True)
    for name, written in tree["top"].items():
        if written is not None:
            (root / name).write_bytes(written)
    for name, kind in tree["files"].items():
        path = root / name
        if path.exists() or path.is_symlink():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = WHOLE if content is None else content
        packed = gzip.compress(whole, 1) if name.endswith(".gz") else whole
        if kind == "link":
            path.symlink_to("../../.git/annex/objects/none")
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes({"empty": b"", "pointer": b"/annex/objects/x\n", "text": b"no image"}.get(kind, packed))
            if kind == "secret":
                path.chmod(0)
