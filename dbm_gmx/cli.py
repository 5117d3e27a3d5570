"""The command line: parses, and calls the function of one command."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from dbm_gmx import __version__
from dbm_gmx.commands import backmap, benchmark, check, evaluate, models, plan, relax, train
from dbm_gmx.commands import map as map_
from dbm_gmx.commands.paths import check_outputs
from dbm_gmx.errors import ExitCode, InputError, printable

COMMANDS = (backmap, map_, relax, evaluate, train, models, check, plan, benchmark)
"""In the order of the help."""


class Parser(argparse.ArgumentParser):
    """A parser that ends with exit code 1, as for any other bad input."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how it would be right."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.FAILED, f"dbm-gmx: error: {message}\n")


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="dbm-gmx", description="Put the atoms back into coarse-grained GROMACS simulations.")
    parser.add_argument("--version", action="version", version=f"dbm-gmx {__version__}")
    parser.set_defaults(quiet=False, verbose=False)  # commands without these options
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = build_parser().parse_args(arguments)
    _log(logging.ERROR if options.quiet else logging.INFO if options.verbose else logging.WARNING)
    # threads that wait must not burn the cores of others; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # a batch system ends a job with SIGTERM: keep the finished frames then, as after Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        check_outputs(options)
        return int(options.run(options))
    except InputError as error:
        print(f"dbm-gmx: error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("dbm-gmx: interrupted; the frames finished so far are kept", file=sys.stderr)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILED


def _log(level: int) -> None:
    """Show our own messages only, not those of the libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("dbm-gmx: %(message)s"))
    ours = logging.getLogger("dbm_gmx")
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(level)


class _Printable(logging.Formatter):
    """Writes out control characters that are in names of files."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(super().format(record))


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt
