"""The command: arguments -> Config -> one analysis level -> exit code.

Only the standard library is imported here; whatever is heavy is imported where a level starts, so that ``--help``
answers at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field
from threading import current_thread, main_thread
from typing import Any

from . import __version__
from .config import LEVELS, Config, make_config, options
from .errors import LatentAtlasError
from .option_values import Read

EPILOG = """\
examples:
  latentatlas /data/bids /data/out participant --participant-label 01 02 --nprocs 4
  latentatlas /data/bids /data/out group --group-column diagnosis --covariates age sex tiv

exit codes: 0 done; 1 a scan or step failed, results of the others are kept; 2 wrong usage; 65 unusable data;
66 nothing to process; 69 template or atlas not available; 73 output not writable; 78 wrong configuration;
130 interrupted (run the same command again to resume)
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser, made from the declarations in :class:`bids_app.config.Config`."""
    parser = argparse.ArgumentParser(
        prog="latentatlas",
        usage="%(prog)s bids_dir output_dir {participant,group} [options]   (--help lists them)",
        description="Grey-matter maps from T1-weighted MRI, their latent space, the brain regions it encodes, and "
        "the claims that the data support.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", help="the BIDS dataset (the group level also accepts a derivative dataset)")
    parser.add_argument("output_dir", help="output folder for the derivative dataset")
    parser.add_argument(
        "analysis_level", choices=LEVELS, help="participant: process each scan; group: analyse all maps"
    )
    parser.add_argument("--version", action="version", version=f"latentatlas {__version__}")
    sections: dict[str, argparse._ArgumentGroup] = {}
    for declared in options():
        meta = declared.metadata
        section = sections.setdefault(meta["section"], parser.add_argument_group(meta["section"]))
        flags = [f"--{declared.name.replace('_', '-')}", *([meta["short"]] if meta["short"] else [])]
        # SUPPRESS: only what was really typed reaches make_config, so that a TOML file can fill in the rest.
        common: dict[str, Any] = {"dest": declared.name, "help": _help(declared), "default": argparse.SUPPRESS}
        if declared.name == "verbose":
            section.add_argument(*flags, action="count", **common)
        elif isinstance(declared.default, bool):
            section.add_argument(*flags, action="store_true", **common)
        else:
            section.add_argument(
                *flags,
                type=_typed(meta["read"]),
                nargs="+" if meta["many"] else None,
                choices=meta["choices"],
                metavar=meta["metavar"],
                **common,
            )
    return parser


def _help(declared: Field[Any]) -> str:
    default = declared.default
    if isinstance(default, bool) or default in (None, (), 0) or "(default" in declared.metadata["help"]:
        return str(declared.metadata["help"])
    return f"{declared.metadata['help']} (default: {default})"


def _typed(read: Read) -> Read:
    def convert(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def parse(argv: Sequence[str] | None = None) -> Config:
    """Arguments -> configuration; leaves with code 2 on wrong usage, as argparse does."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    given = vars(build_parser().parse_args([_hyphened(argument) for argument in arguments]))
    positional = {name: given.pop(name) for name in ("bids_dir", "output_dir", "analysis_level")}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return make_config(positional, given)


def _hyphened(argument: str) -> str:
    """``--participant_label``, as the BIDS Apps specification spells it, is ``--participant-label``."""
    name, equals, value = argument.partition("=")
    known = {f"--{option.name}" for option in options()}
    return name.replace("_", "-") + equals + value if name in known else argument


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, which schedulers send at the end of a job's time, end this process as Ctrl-C does.

    Only this process: workers and other children are started by ``exec``, which does not keep a handler.
    """
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ``timeout`` sends it twice, and would disturb the clearing up
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@_terminated_as_interrupted()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback_wanted = any(a.startswith("-vv") for a in arguments) or arguments.count("-v") > 1
    try:
        config = parse(arguments)
        from .workflows.run import run

        return run(config)
    except LatentAtlasError as error:
        if traceback_wanted:
            raise
        print(f"latentatlas: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("latentatlas: interrupted; run the same command again to resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
