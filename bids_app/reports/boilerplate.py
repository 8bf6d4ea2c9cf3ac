"""The methods text of a run and its references, as Markdown, HTML, LaTeX and BibTeX.

The text is a template beside the bibliography (``boilerplate/``): every sentence that depends on an option or on what
was found stands there under its condition, so the text cannot say what the run did not do.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2

from .. import __version__
from ..bids.files import read_json, write_text
from ..bids.versions import map_engine
from ..config import Config
from ..schema.architectures import BY_KIND, BY_NAME, Architecture
from ..schema.atlases import named
from ..schema.claims import ALPHA
from ..schema.methods import EMBEDDINGS, TFCE_PERMUTATIONS, VOXELWISE_PERMUTATIONS
from ..schema.outputs import (
    ATLAS_REGIONS,
    DESCRIPTION,
    METHODS_HTML,
    METHODS_TEX,
    METHODS_TEXT,
    MODEL_CARD,
    REFERENCES,
    RUN_OPTIONS,
    SCAN_FILES,
    SUMMARY,
    VBM_T,
    VBM_TFCE,
)
from ..schema.region_tables import LRCP_REGIONS, SHAP_REGIONS
from ..schema.scan_tables import DEVIATIONS
from ..schema.segmenters import SEGMENTERS_BY_NAME
from ..schema.site_tables import SITE_ERRORS, SITE_LATENTS
from ..schema.verdict_tables import CONFUSION
from ..space.template_sources import BUNDLED
from .citations import cited, html_page, read_bibliography, tex_document, with_references
from .group_results import error_is_explained, read_shown
from .style import join_words, number

PACKAGES = (
    "nipype",
    "deepbet",
    "antspyx",
    "picsl_greedy",
    "torch",
    "scikit-learn",
    "nibabel",
    "nilearn",
    "numpy",
    "scipy",
    "templateflow",
)
SPELT = {
    "tiv": "total intracranial volume",
    "WMHypointensityVolume": "the volume of hypointense white matter",
}
TEMPLATES = {"MNI152NLin2009": "@fonov2009; @fonov2011", "MNIPediatricAsym": "@fonov2011"}
PIPELINES = {"fMRIPrep": "@fmriprep", "sMRIPrep": "@fmriprep", "CAT12": "@cat12"}


def write_boilerplate(output_dir: str | Path, config: Config | Mapping[str, Any] | None = None) -> dict[str, Path]:
    """Write ``logs/CITATION.{md,html,tex,bib}``.

    Parameters
    ----------
    output_dir : path-like
        The derivative dataset; what it holds already (sidecars, ``group/summary.json``) decides what the text says.
    config : Config or mapping, optional
        The options of the run; default: the newest ``logs/*.toml``.

    Returns
    -------
    dict
        Extension -> path.
    """
    output_dir = Path(output_dir)
    text = methods_text(describe_run(output_dir, config))
    library = read_bibliography(home() / "references.bib")
    keys = cited(text)
    written = {
        METHODS_TEXT: with_references(text, library),
        METHODS_HTML: html_page(text, library),
        METHODS_TEX: tex_document(text),
        REFERENCES: "\n\n".join(library[key].source for key in keys) + "\n",
    }
    return {file.name.split(".")[-1]: write_text(file.at(output_dir), content) for file, content in written.items()}


def methods_text(run: Mapping[str, Any]) -> str:
    """The methods text in Markdown, citations as ``[@key]``.

    Parameters
    ----------
    run : mapping
        As `describe_run` returns it.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(home()), trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("methods.tpl").render(**run)
    # One line per paragraph: the template breaks its lines wherever a condition stands.
    paragraphs = [
        " ".join(block.split()) for block in re.split(r"\n\s*\n|(?<=\S)\n(?=#)|(?<=# Methods)\n", text) if block.strip()
    ]
    return "\n\n".join(re.sub(r" ([.,;])", r"\1", paragraph) for paragraph in paragraphs) + "\n"


def describe_run(output_dir: Path, config: Config | Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything the methods text depends on.

    Parameters
    ----------
    output_dir : Path
    config : Config or mapping, optional
        Options by their field names; default: the newest ``logs/*.toml``, else the defaults of `Config`.

    Returns
    -------
    dict
        Every name that the template uses.
    """
    output_dir = Path(output_dir)
    options = _options(output_dir, config)
    summary = read_json(SUMMARY.at(output_dir))
    maps = [path for path in sorted(output_dir.glob("sub-*/**/anat/*_label-GM*_probseg.json")) if _is_map(path)]
    sidecars = [{**read_json(path), "Subject": path.name.split("_")[0]} for path in maps]
    given = [meta for meta in sidecars if meta.get("Precomputed")]
    computed = [meta for meta in sidecars if not meta.get("Precomputed")]
    source, source_citations = _source(options, sidecars)
    site = summary.get("site_column", options["site_column"])
    known = [str(name) for name in summary.get("covariates", options["covariates"])]
    covariates = list(dict.fromkeys([*known, *([site] if site else [])]))
    contrasts = list(summary.get("contrasts") or _contrasts(output_dir) or options["contrast"])
    group_column = summary.get("group_column", options["group_column"]) or ""
    template = str(summary.get("template") or _space(maps, options["template"])).split(":")[0]
    asked = str(summary.get("atlas_asked") or options["atlas"])  # a name, or a file
    known_atlas = named(asked)
    atlas = summary.get("atlas") or Path(asked).name.split(".")[0]
    shap = summary.get("shap") or {}
    fwhm = summary.get("smoothing_fwhm", options["smoothing_fwhm"])
    group_level = bool(summary) or options["analysis_level"] == "group"
    model = Path(summary.get("model") or options["model"] or "").name
    card = _model_card(output_dir)
    return {
        "version": __version__,
        "versions": {name: _version(name) for name in PACKAGES} | dict(summary.get("versions", {})),
        "group_level": group_level,
        "any_given": bool(source),
        "any_computed": bool(computed) or not source,
        "n_given": len(given),
        "n_unmodulated": sum(not meta.get("Modulated", True) for meta in given),
        "n_failed": sum(meta.get("QualityVerdict") == "fail" for meta in computed),
        "source": source,
        "source_citations": source_citations,
        "template": template,
        "template_citation": next((key for name, key in TEMPLATES.items() if template.startswith(name)), ""),
        "template_source": "bundled" if template == BUNDLED else "templateflow",
        "resolution": f"{float(summary.get('resolution') or _resolution(sidecars) or options['grid_mm']):g}",
        "segmentation": _segmentation(computed, options),
        "n_scans": len(computed),
        "n_participants": len({str(meta["Subject"]) for meta in computed}),
        "skull_strip": options["skull_strip"],
        "sloppy": summary.get("sloppy", any(m.get("Sloppy") for m in sidecars) if sidecars else options["sloppy"]),
        "n_stripped": sum(bool(_kept_its_outline(meta)) for meta in computed),
        "all_stripped": bool(computed) and all(_kept_its_outline(meta) for meta in computed),
        "smoothing_fwhm": f"{float(fwhm):g}" if fwhm else "",
        "model_given": model,
        "conformal": _conformal(output_dir),
        "encoded_by": model if any(output_dir.glob(f"sub-*/**/*_{SCAN_FILES['recon'].stem}.json")) else "",
        "model_mm": f"{card['grid']['resolution']:g}" if "grid" in card else "",
        "latent_dim": (latent_dim := summary.get("latent_dim", options["latent_dim"])),
        "trained": _architecture(card, options).methods.format(latent_dim=latent_dim),
        "n_group_scans": summary.get("n_scans", len(sidecars)),
        "n_group_participants": summary.get("n_participants", len(sidecars)),
        "model_sentence": _model_sentence(card),
        "embeddings": join_words([f"by {each.title} [@{each.citation}]" for each in EMBEDDINGS]),
        "folds": summary.get("folds", options["folds"]),
        "seed": summary.get("seed", options["random_seed"]),
        "group_column": group_column,
        "supervised": bool(contrasts or group_column),
        "atlas": atlas,
        "atlas_citation": "; ".join(f"@{key}" for key in known_atlas.citations) if known_atlas else "",
        "atlas_way": known_atlas.way if known_atlas else "",
        "n_regions": _count_regions(output_dir, atlas),
        "covariates": covariates,
        "combat": site if summary.get("harmonize", options["harmonize"]) == "combat" else "",
        "covariates_list": join_words([SPELT.get(name, name) for name in covariates]),
        "contrasts": contrasts,
        "contrasts_list": join_words(contrasts),
        "several": len(contrasts) > 1,
        "primary": summary.get("primary", options["primary"]) or "",
        "scan_choice": summary.get("scan_choice", options["scan_choice"]),
        "sites": site or "",
        "sites_left_out": (output_dir / SITE_ERRORS.path).exists(),
        "sites_told": _relabellings(output_dir / SITE_LATENTS.path),
        "n_permutations": f"{(n_permutations := int(summary.get('n_permutations', options['permutations']))):,}",
        "n_voxelwise": f"{min(n_permutations, VOXELWISE_PERMUTATIONS):,}",
        "n_tfce": f"{min(n_permutations, TFCE_PERMUTATIONS):,}",
        "voxelwise": _voxelwise(output_dir),
        "confusion": (output_dir / CONFUSION.path).exists(),
        "reference_group": summary.get("reference_group", options["reference_group"]) or "",
        "shap": bool(shap) or (output_dir / SHAP_REGIONS.path).exists(),
        "shap_supported": bool(shap.get("supported", True)) and error_is_explained(output_dir),
        "shap_model": shap.get("model", ""),
        "alpha": summary.get("alpha", ALPHA),
        "confidence": number(1 - float(summary.get("alpha", ALPHA)), 2),
    }


def home() -> Path:
    """Where the template and the bibliography are: in the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "boilerplate"
    return inside if inside.is_dir() else package.parent / "boilerplate"


def _options(output_dir: Path, config: Config | Mapping[str, Any] | None) -> dict[str, Any]:
    """Options by their field names, with defaults for whatever is not given."""
    if isinstance(config, Config):
        given = {name: getattr(config, name) for name in Config.__dataclass_fields__}
    elif config is not None:
        given = dict(config)
    else:
        files = sorted(RUN_OPTIONS.find(output_dir), key=lambda path: path.stat().st_mtime)
        given = tomllib.loads(files[-1].read_text(encoding="utf-8")) if files else {}
    given = {name.replace("-", "_"): value for name, value in given.items()}
    first: dict[str, Any] = {"bids_dir": Path(), "output_dir": output_dir, "analysis_level": ""}
    known = first | {name: value for name, value in given.items() if name in Config.__dataclass_fields__}
    complete = Config(**known)
    return {name: getattr(complete, name) for name in Config.__dataclass_fields__} | {"grid_mm": complete.grid_mm}


def _is_map(path: Path) -> bool:
    """Whether a sidecar is that of the map which the later steps read."""
    if "_space-" not in path.name:
        return False
    modulated, plain = (f"_{SCAN_FILES[kind].stem}.json" for kind in ("modulated", "gm_std"))
    better = path.with_name(path.name.removesuffix(plain) + modulated)
    return path.name.endswith(modulated) or (path.name.endswith(plain) and not better.exists())


def _kept_its_outline(meta: Mapping[str, Any]) -> bool:
    """Whether a scan kept the outline that it came with; a stripped one that was stripped again did not."""
    stripped = bool(meta.get("SkullStripped", False))
    return stripped and meta.get("SkullStripMethod", "support") == "support"


def _space(maps: list[Path], asked: str) -> str:
    """The space of the maps that are there: that of the option, if any lies in it; maps of others lie in their own."""
    found = [match[1] for path in maps if (match := re.search(r"_space-([a-zA-Z0-9]+)", path.name))]
    return asked if not found or asked.split(":")[0] in found else found[0]


def _resolution(sidecars: list[dict[str, Any]]) -> float | None:
    """Voxel size as the first sidecar words it."""
    found = re.match(r"[\d.]+", str(sidecars[0].get("Resolution", ""))) if sidecars else None
    return float(found.group()) if found else None


def _voxelwise(output_dir: Path) -> str:
    """What was tested at each voxel, by the maps that are there."""
    if VBM_TFCE.find(output_dir):
        return "tfce"
    return "fwe" if VBM_T.find(output_dir) else "none"


def _model_card(output_dir: Path) -> dict[str, Any]:
    """What the trained model says of itself."""
    return read_json(MODEL_CARD.at(output_dir))


def _segmentation(computed: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
    """How the tissues of the existing maps were segmented; by the option if there are none."""
    engines = sorted({engine for meta in computed if (engine := map_engine(meta))}) or [options["segmentation"]]
    return join_words(
        [SEGMENTERS_BY_NAME[engine].methods if engine in SEGMENTERS_BY_NAME else f"by {engine}" for engine in engines]
    )


def _architecture(card: Mapping[str, Any], options: Mapping[str, Any]) -> Architecture:
    return BY_KIND.get(str(card.get("kind")), BY_NAME[options["architecture"]])


def _model_sentence(card: Mapping[str, Any]) -> str:
    sentence = card.get("training", {}).get("choices", {}).get("sentence", "")
    return _capital(sentence.rstrip(".")) + "." if sentence else ""


def _source(options: Mapping[str, Any], sidecars: list[dict[str, Any]]) -> tuple[str, str]:
    """Who made the maps that were not computed here, in words, and their citations."""
    folders = [Path(path) for path in options["derivatives"]]
    if not sidecars and not folders and options["analysis_level"] == "group":
        folders = [Path(options["bids_dir"])]  # the group level on a dataset of maps
    elif not any(meta.get("Precomputed") for meta in sidecars) and (sidecars or not folders):
        return "", ""
    names, citations = [], []
    for folder in folders:
        described = read_json(DESCRIPTION.at(folder))
        made = (described.get("GeneratedBy") or [{}])[0]
        if not made and any("mwp1" in str(meta.get("Sources")) for meta in sidecars):
            made = {"Name": "CAT12"}
        words = (made.get("Name"), made.get("Version"))
        names.append(" ".join(filter(None, words)) or described.get("Name") or folder.name)
        citations.append(PIPELINES.get(made.get("Name") or "", ""))
    return join_words(names) or "another dataset", "; ".join(dict.fromkeys(filter(None, citations)))


def _contrasts(output_dir: Path) -> list[str]:
    """The contrasts that were analysed, if none were requested."""
    path = output_dir / LRCP_REGIONS.path
    return list(read_shown(path)["contrast"].dropna().unique()) if path.exists() else []


def _conformal(output_dir: Path) -> bool:
    """Whether errors were compared with those of people whom the models of the folds did not see."""
    path = output_dir / DEVIATIONS.path
    if path.exists() and "error_p" in read_shown(path):
        return True
    sidecars = output_dir.glob(f"sub-*/**/*_{SCAN_FILES['recon'].stem}.json")
    return any(read_json(path).get("ReconstructionErrorP") is not None for path in sidecars)


def _relabellings(path: Path) -> str:
    """How many relabellings the latents' knowledge of the sites was tested by; empty where it was not."""
    known = list(read_shown(path)["permutations"].dropna()) if path.exists() else []
    return f"{int(known[0]):,}" if known else ""


def _count_regions(output_dir: Path, atlas: str) -> int | str:
    for path in ATLAS_REGIONS.find(output_dir, A=atlas):
        return len(read_shown(path))
    return "all"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
