"""The one configuration of a run: frozen, typed, written to and read from TOML.

Each option is declared once, as a field of :class:`Config`; the command-line parser, the TOML file and the table in the
documentation are all made from these declarations, so that none can list an option the others lack.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import option_values as to
from .errors import ConfigError
from .schema.architectures import ARCHITECTURES
from .schema.atlases import ATLASES, CHOICE
from .schema.outputs import MODEL_CARD
from .schema.segmenters import SEGMENTERS

LEVELS = ("participant", "group")
_option = to.declare


@dataclass(frozen=True)
class Config:
    """Everything a run depends on. Paths are absolute; labels carry no ``sub-``/``ses-`` prefix."""

    bids_dir: Path
    output_dir: Path
    analysis_level: str

    participant_label: tuple[str, ...] = _option(
        (),
        "participants to process, with or without sub- (default: all)",
        "which data",
        read=to.label("sub-"),
        many=True,
    )
    session_label: tuple[str, ...] = _option(
        (),
        "sessions to process, with or without ses- (default: all)",
        "which data",
        read=to.label("ses-"),
        many=True,
    )
    bids_filter_file: Path | None = _option(
        None,
        'JSON file that selects T1w images, as in fMRIPrep, e.g. {"t1w": {"acquisition": "mprage"}}',
        "which data",
        read=to.path,
        metavar="FILE",
    )
    bids_database_dir: Path | None = _option(
        None,
        "accepted for compatibility but not used: listing the dataset takes only seconds",
        "which data",
        read=to.path,
        metavar="DIR",
    )
    skip_bids_validation: bool = _option(
        False, "do not check the dataset description, and accept files whose names are not valid BIDS", "which data"
    )
    derivatives: tuple[Path, ...] = _option(
        (),
        "derivative datasets (sMRIPrep, fMRIPrep, CAT12 as BIDS) whose grey-matter maps are used as they are",
        "which data",
        read=to.path,
        many=True,
        short="-d",
        metavar="DIR",
    )

    template: str = _option(
        "MNI152NLin2009aSym",
        "standard space; instead of the bundled default, a TemplateFlow name such as MNI152NLin2009cAsym or "
        "MNIPediatricAsym:cohort-4",
        "participant level",
        scientific=True,
    )
    resolution: float | None = _option(
        None,
        "voxel size of the maps in mm (default: 1.5; 3 with --sloppy)",
        "participant level",
        read=to.positive(float),
        metavar="MM",
        scientific=True,
    )
    skull_strip: str = _option(
        "auto",
        "auto strips heads that still have their skull, force always strips, skip assumes that the image is already "
        "stripped",
        "participant level",
        choices=("auto", "force", "skip"),
        scientific=True,
    )
    segmentation: str = _option(
        SEGMENTERS[0].name,
        "how tissues are segmented: " + "; ".join(f"{s.name}, {s.option}" for s in SEGMENTERS),
        "participant level",
        choices=tuple(s.name for s in SEGMENTERS),
        scientific=True,
    )
    smoothing_fwhm: float = _option(
        8.0,
        "full width at half maximum of the Gaussian that smooths the maps, in mm; 0 for none",
        "participant level",
        read=to.not_negative,
        metavar="MM",
        scientific=True,
    )
    sloppy: bool = _option(
        False, "coarse and quick, for trying things out; never for results", "participant level", scientific=True
    )

    model: Path | None = _option(
        None,
        "a trained model (a group output, or its group/model folder): encode with it instead of training",
        "model",
        read=to.path,
        metavar="DIR",
    )
    architecture: str = _option(
        ARCHITECTURES[0].name,
        "which network is trained: " + "; ".join(f"{a.name}, {a.option}" for a in ARCHITECTURES),
        "model",
        choices=tuple(a.name for a in ARCHITECTURES),
    )
    latent_dim: int = _option(64, "maximum number of latent variables", "model", read=to.positive(int), metavar="K")
    epochs: int | None = _option(
        None,
        "maximum number of training epochs (default: set by the plan; early stopping decides)",
        "model",
        read=to.positive(int),
        metavar="N",
    )
    folds: int = _option(5, "number of folds for cross-fitting", "model", read=to.folds, metavar="N")
    device: str = _option("auto", "device on which the model is trained", "model", choices=("auto", "cpu", "cuda"))

    group_column: str | None = _option(
        None, "column of participants.tsv with the clinical groups", "group level", metavar="COLUMN"
    )
    contrast: tuple[str, ...] = _option(
        (),
        "what to compare: 'AD-CN' (two groups), 'AD-rest', 'CN<MCI<AD' (ordered), or a numeric column "
        "(default: all pairs of groups)",
        "group level",
        many=True,
    )
    covariates: tuple[str, ...] = _option(
        (),
        "columns whose influence is removed (age, sex, site, ...); tiv and WMHypointensityVolume are taken from the "
        "scans",
        "group level",
        many=True,
        metavar="COLUMN",
    )
    site_column: str | None = _option(
        None,
        "column of participants.tsv with the site or scanner; its influence is removed like a covariate's",
        "group level",
        metavar="COLUMN",
    )
    harmonize: str = _option(
        "covariate",
        "how --site-column is used: covariate removes the sites' means; combat also equalises their spread in latents "
        "and regional grey matter, fitted on training participants only",
        "group level",
        choices=("covariate", "combat"),
    )
    site_checks: str = _option(
        "all",
        "checks with --site-column: all retrains every model without each site (one more training per site) and tests "
        "whether the latents identify the sites; latents does only the second; none",
        "group level",
        choices=("all", "latents", "none"),
    )
    primary: str | None = _option(
        None,
        "the contrast specified in advance as primary; it is exempt from the correction over contrasts",
        "group level",
        metavar="CONTRAST",
    )
    scan_choice: str = _option(
        "first",
        "which of a participant's scans is used: first is the earliest with complete data, mean is the average of the "
        "scans in one group",
        "group level",
        choices=("first", "mean"),
    )
    atlas: str = _option(
        ATLASES[0].name,
        f"{CHOICE}, or a NIfTI image of labels with a .tsv beside it",
        "group level",
        read=to.atlas,
    )
    reference_group: str | None = _option(
        None,
        "group of --group-column that serves as the norm (healthy controls); each scan gets its deviations from it",
        "group level",
        metavar="GROUP",
    )
    voxelwise: str = _option(
        "fwe",
        "t test at each voxel beside the regional analyses: fwe (largest |t|; about one second per map), tfce (also "
        "cluster enhancement at 3 mm; about 5 minutes per contrast on one processor), none",
        "group level",
        choices=("fwe", "tfce", "none"),
    )
    permutations: int = _option(
        5000, "number of permutations in every permutation test", "group level", read=to.positive(int), metavar="N"
    )
    ground_truth: Path | None = _option(
        None,
        "ground_truth.tsv of a simulated cohort, with which the ranking of regions is compared (default: the one in "
        "BIDS_DIR/code, if any)",
        "group level",
        read=to.path,
        metavar="FILE",
    )

    work_dir: Path = _option(
        Path("work"),
        "folder for intermediate results, from which an interrupted run resumes",
        "running",
        read=to.path,
        short="-w",
        metavar="DIR",
    )
    nprocs: int | None = _option(
        None,
        "total number of processors to use (default: all that this process may use)",
        "running",
        read=to.positive(int),
    )
    omp_nthreads: int | None = _option(
        None,
        "number of processors that a single step may use (default: divided among the scans)",
        "running",
        read=to.positive(int),
    )
    mem: float | None = _option(
        None,
        "total memory to use, in MB, or with a suffix, e.g. 8G (default: 90 %% of this machine's)",
        "running",
        read=to.memory_limit,
        metavar="MEM",
    )
    use_plugin: Path | None = _option(
        None, "Nipype plugin configuration (YAML) for Slurm, PBS or SGE", "running", read=to.path, metavar="FILE"
    )
    random_seed: int = _option(0, "seed of all random numbers", "running", read=int, metavar="SEED", scientific=True)
    config_file: Path | None = _option(
        None,
        "TOML file with any of these options (as saved in logs/); the command line takes precedence",
        "running",
        read=to.path,
        metavar="FILE",
    )
    stop_on_first_crash: bool = _option(False, "stop everything at the first failure", "running")
    clean_workdir: bool = _option(False, "empty the work folder before starting", "running")
    resource_monitor: bool = _option(
        False, "record memory and processor use in each step's _report folder under the work folder", "running"
    )
    write_graph: bool = _option(False, "write the workflow graph into logs/", "running")
    reports_only: bool = _option(False, "only remake the reports, from the existing outputs", "running")
    boilerplate_only: bool = _option(False, "only write the methods text and its references", "running")
    verbose: int = _option(0, "more messages; -vv also shows tracebacks", "running", read=int, short="-v")

    @property
    def grid_mm(self) -> float:
        """Voxel size of the maps in mm."""
        return self.resolution or (3.0 if self.sloppy else 1.5)

    @property
    def model_dir(self) -> Path | None:
        """The folder of the trained model, also where ``--model`` names the output that holds it."""
        if self.model is None:
            return None
        inside = MODEL_CARD.at(self.model).parent
        return inside if inside.is_dir() else self.model

    def scientific_hash(self) -> str:
        """Fingerprint of the options that change a scan's maps, as kept in the sidecar of each map."""
        values = {f.name: str(getattr(self, f.name)) for f in options() if f.metadata["scientific"]}
        values["resolution"] = str(self.grid_mm)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def to_toml(self) -> str:
        """This configuration as TOML; options that are unset are left out."""
        import tomli_w

        plain = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is None or f.name == "config_file":
                continue
            if isinstance(value, tuple):
                value = [str(v) for v in value]
            elif isinstance(value, Path):
                value = str(value)
            elif f.name == "mem":
                value = f"{value}G"
            plain[f.name.replace("_", "-")] = value
        return tomli_w.dumps(plain)


def options() -> list[dataclasses.Field[Any]]:
    """The declared options, positional arguments left out."""
    return [f for f in dataclasses.fields(Config) if f.metadata]


def read_toml(path: Path) -> dict[str, Any]:
    """Read options from a TOML file.

    Returns
    -------
    dict
        Field name -> value, checked and converted as on the command line. The positional arguments, which a saved
        configuration also holds, are left out: a command line always names them.

    Raises
    ------
    ConfigError
        The file cannot be read, names an unknown option, or gives a value that the option does not take.
    """
    try:
        raw = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            "the configuration file does not exist", file=path, remedy="check the path after --config-file"
        ) from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the configuration file is not readable TOML: {error}",
            file=path,
            remedy="use the format of the files saved in logs/",
        ) from None
    known = {f.name: f for f in options()}
    values = {}
    for key, value in raw.items():
        name = key.replace("-", "_")
        if name in ("bids_dir", "output_dir", "analysis_level"):
            continue
        if name not in known:
            raise ConfigError(
                f"there is no option called '{key}'", file=path, remedy="see latentatlas --help for the options"
            )
        values[name] = _convert(known[name], value, path)
    return values


def _convert(declared: dataclasses.Field[Any], value: Any, path: Path) -> Any:
    meta = declared.metadata
    try:
        if isinstance(declared.default, bool):
            if not isinstance(value, bool):
                raise ValueError("write true or false")
            return value
        if meta["many"]:
            return tuple(meta["read"](v) for v in (value if isinstance(value, list) else [value]))
        value = meta["read"](value)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"option '{declared.name.replace('_', '-')}': {error}", file=path, remedy="see latentatlas --help"
        ) from None
    if meta["choices"] and value not in meta["choices"]:
        raise ConfigError(
            f"option '{declared.name.replace('_', '-')}' takes one of {', '.join(meta['choices'])}, not '{value}'",
            file=path,
            remedy="see latentatlas --help",
        )
    return value


def make_config(positional: Mapping[str, Any], given: Mapping[str, Any]) -> Config:
    """Put a configuration together: defaults, then the TOML file, then what the command line gave."""
    from_file = read_toml(given["config_file"]) if given.get("config_file") else {}
    values = {**from_file, **given}
    try:
        paths = {name: to.path(positional[name]) for name in ("bids_dir", "output_dir")}
        paths |= {} if "work_dir" in values else {"work_dir": to.path(Config.work_dir)}
        to.check_utf8({**paths, **values}.values())
    except ValueError as error:
        raise ConfigError(
            f"a folder cannot be used: {error}", remedy="use folders that can exist; set the work folder with -w"
        ) from None
    if values.get("model") and "architecture" in given:  # a saved configuration names both
        raise ConfigError(
            "--model determines the architecture, so --architecture has no effect",
            remedy="omit --architecture, or omit --model to train a new model",
        )
    return Config(analysis_level=positional["analysis_level"], **{**paths, **values})
