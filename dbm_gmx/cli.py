"""The command line: parses, and calls the function of one command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from dbm_gmx import __version__
from dbm_gmx.commands import backmap, benchmark, check, evaluate, join, models, plan, relax, train
from dbm_gmx.commands import map as map_
from dbm_gmx.commands.paths import check_outputs
from dbm_gmx.errors import ExitCode, InputError
from dbm_gmx.interrupts import answering, end_now
from dbm_gmx.logs import speaking

COMMANDS = (backmap, map_, relax, join, evaluate, train, models, check, plan, benchmark)
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
    parser.set_defaults(quiet=False, verbose=False, log=None)  # commands without these options
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return ExitCode.DONE
    # threads that wait must not burn the cores of others; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with answering(at_once=arguments is None):
        try:
            with speaking(quiet=options.quiet, verbose=options.verbose, log=options.log):
                return _run(options, is_program=arguments is None)
        except InputError as error:  # the log cannot be written
            print(f"dbm-gmx: error: {error}", file=sys.stderr)
            return ExitCode.FAILED


def _run(options: argparse.Namespace, *, is_program: bool) -> int:
    """Run a command; returns the exit code."""
    try:
        check_outputs(options)
        return int(options.run(options))
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print(f"dbm-gmx: error: {error}", file=sys.stderr)
    except KeyboardInterrupt as signal:
        said = f"interrupted ({signal})" if str(signal) else "interrupted"
        if is_program:
            end_now([said])
        print(f"dbm-gmx: {said}", file=sys.stderr)
    return ExitCode.FAILED
