"""Citations: Markdown with Pandoc's ``[@key]`` into HTML and LaTeX, and a reader for our own BibTeX file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..schema.outputs import REFERENCES
from .style import esc

_CITATION = re.compile(r"\[(@[\w:-]+(?:; @[\w:-]+)*)\]")
_ENTRY = re.compile(r"^@(\w+)\{([\w:-]+),\n(.*?)\n\}", re.S | re.M)
_FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},?$", re.M)
_TEX = {
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


@dataclass(frozen=True)
class Reference:
    """One entry of the bibliography.

    Attributes
    ----------
    key : str
    fields : dict
        BibTeX fields, braces that only protect capitals taken out.
    source : str
        The entry as it stands in the file.
    """

    key: str
    fields: Mapping[str, str]
    source: str

    @property
    def short(self) -> str:
        """``Avants et al., 2008``."""
        names = [name.split(",")[0].strip() for name in self.fields["author"].split(" and ")]
        if len(names) > 2 or names[-1] == "others":
            who = f"{names[0]} et al."
        else:
            who = " & ".join(names)
        return f"{who}, {self.fields['year']}"

    @property
    def full(self) -> str:
        """The reference as it stands in a list, as plain text."""
        get = self.fields.get
        names = [name.strip() for name in self.fields["author"].split(" and ")]
        who = "; ".join(names[:-1] + (["et al."] if names[-1] == "others" else names[-1:]))
        where = get("journal") or get("booktitle") or get("publisher") or ""
        volume = " ".join(part for part in (where, get("volume", "")) if part)
        if get("pages"):
            volume += f", {self.fields['pages'].replace('--', '–')}"
        parts = [f"{who} ({get('year')}). {get('title')}", volume, get("note", "")]
        return " ".join(part if part.endswith(("?", "!", ".")) else f"{part}." for part in parts if part)

    @property
    def link(self) -> str:
        """Where to find it; empty where neither DOI nor arXiv number is known."""
        if "doi" in self.fields:
            return f"https://doi.org/{self.fields['doi']}"
        number = re.match(r"arXiv ([\d.]+)", self.fields.get("note", ""))
        return f"https://arxiv.org/abs/{number.group(1)}" if number else ""


def read_bibliography(path: Path) -> dict[str, Reference]:
    """All entries of a BibTeX file written one field per line."""
    library = {}
    for match in _ENTRY.finditer(path.read_text(encoding="utf-8")):
        fields = {name: _plain(value) for name, value in _FIELD.findall(match.group(3))}
        library[match.group(2)] = Reference(match.group(2), fields, match.group(0))
    return library


def cited(text: str) -> list[str]:
    """Keys in the order in which they are first cited."""
    return list(dict.fromkeys(key[1:] for group in _CITATION.findall(text) for key in group.split("; ")))


def with_references(text: str, library: Mapping[str, Reference]) -> str:
    """The Markdown with the list of references under it (the keys stay, so that Pandoc can format them again)."""
    items = [
        f"- [@{key}] {library[key].full}" + (f" <{library[key].link}>" if library[key].link else "")
        for key in cited(text)
    ]
    return text + "\n## References\n\n" + "\n".join(items) + "\n"


def html_page(text: str, library: Mapping[str, Reference]) -> str:
    """A page of its own, citations as author and year, linked to the list at the end."""
    from markdown_it import MarkdownIt

    def name(match: re.Match[str]) -> str:
        keys = [key[1:] for key in match.group(1).split("; ")]
        return "(" + "; ".join(f"CITE{len(key)}:{key}:" for key in keys) + ")"

    # Raw HTML in the text (it could come from a column's name) is shown, never run.
    body = MarkdownIt("commonmark", {"html": False}).render(_CITATION.sub(name, text))
    body = re.sub(
        r"CITE\d+:([\w-]+):", lambda m: f'<a href="#ref-{m.group(1)}">{esc(library[m.group(1)].short)}</a>', body
    )
    body = body.replace("<h2>", "<h3>").replace("</h2>", "</h3>").replace("<h1>Methods</h1>", "")
    items = []
    for key in cited(text):
        reference = library[key]
        link = f' <a href="{esc(reference.link)}">{esc(reference.link)}</a>' if reference.link else ""
        items.append(f'<li id="ref-{esc(key)}">{esc(reference.full)}{link}</li>')
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Methods</title></head>\n<body>\n'
        + body
        + '<h3>References</h3>\n<ol class="references">\n'
        + "\n".join(items)
        + "\n</ol>\n</body></html>\n"
    )


def tex_document(text: str) -> str:
    """A LaTeX document; its bibliography is ``CITATION.bib``."""
    lines = []
    for block in text.strip().split("\n\n"):
        heading = re.match(r"(#+) (.*)", block)
        if heading:
            command = {1: "section", 2: "subsection"}.get(len(heading.group(1)), "subsubsection")
            lines.append(f"\\{command}{{{_tex(heading.group(2))}}}")
        else:
            lines.append(_tex(block))
    body = "\n\n".join(lines)
    return (
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage[utf8]{inputenc}\n\\usepackage{natbib}\n"
        "\\usepackage{hyperref}\n\\begin{document}\n"
        + body
        + f"\n\n\\bibliographystyle{{plainnat}}\n\\bibliography{{{Path(REFERENCES.path).stem}}}\n\\end{{document}}\n"
    )


def _tex(text: str) -> str:
    pieces = re.split(r"(\[@[^\]]+\]|\*[^*]+\*)", text)
    out = []
    for piece in pieces:
        citation = _CITATION.fullmatch(piece)
        if citation:
            out.append("\\citep{" + ",".join(key[1:] for key in citation.group(1).split("; ")) + "}")
        elif len(piece) > 2 and piece[0] == piece[-1] == "*":
            out.append("\\emph{" + _escape(piece[1:-1]) + "}")
        else:
            out.append(_escape(piece))
    return "".join(out)


def _escape(text: str) -> str:
    text = "".join(_TEX.get(letter, letter) for letter in text)
    return re.sub(r'"([^"]*)"', r"``\1''", text)


def _plain(value: str) -> str:
    return value.replace("{", "").replace("}", "").replace(r"\&", "&")
