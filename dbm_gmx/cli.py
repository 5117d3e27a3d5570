"""The command line: parses, and calls the function of one command."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from textwrap import fill
from typing import Any, NoReturn

from dbm_gmx.commands import backmap, benchmark, check, evaluate, join, models, plan, relax, train, view
from dbm_gmx.commands import map as map_
from dbm_gmx.commands.examples import EXAMPLES, FIRST_STEPS, documentation, epilog
from dbm_gmx.commands.habits import answer, elsewhere
from dbm_gmx.commands.idle import check_idle
from dbm_gmx.commands.mistaken import check_inputs
from dbm_gmx.commands.paths import check_log, check_outputs
from dbm_gmx.commands.version import version_text
from dbm_gmx.errors import ExitCode, InputError
from dbm_gmx.interrupts import answering, end_now
from dbm_gmx.logs import speaking

COMMANDS = (backmap, map_, relax, join, evaluate, view, train, models, check, plan, benchmark)
"""In the order of the help."""


class Given(argparse._StoreAction):
    """Keeps what is given: several values add up, where an option takes several; else it is given once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep values, or end: none is dropped in silence."""
        before = getattr(namespace, self.dest, self.default)
        if option_string is not None and before is not self.default:
            if not isinstance(before, list):
                parser.error(f"{option_string} is given twice")
            values = [*before, *values]
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser that ends with exit code 1, as for any other bad input, and answers habits of GROMACS."""

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        self.register("action", None, Given)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, unless an option is one of GROMACS that is not here.

        A command says itself what it does not know: else the usage that is shown is not its own.
        """
        words = sys.argv[1:] if args is None else list(args)
        if said := answer(self, words):
            self.error(said)
        known = [name for name in self._option_string_actions if name.startswith("--")]
        long = [word for word in words if re.match("--[A-Za-z]", word)]
        strange = [word for word in long if not any(k.startswith(word.partition("=")[0]) for k in known)]
        if self._subparsers is None:
            self._refuse(strange, known)  # before what is missing is asked for
        options, others = super().parse_known_args(args, namespace)
        if self._subparsers is None:
            self._refuse(others, known)
        return options, others

    def _refuse(self, others: list[str], known: list[str]) -> None:
        """End if there are words that are no options, with the one that is most like the first."""
        if others:
            near = get_close_matches(others[0], known, n=1, cutoff=0.7)
            hint = f" (nearest: {near[0]})" if near else elsewhere(self.prog, others[0])
            self.error(f"unrecognized arguments: {' '.join(others)}{hint}")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how it would be right: an example, as all options fill a screen."""
        example = EXAMPLES.get(self.prog.partition(" ")[2])
        usage = f"{self.prog} COMMAND ..." if example is None else example[0]
        print(f"usage: {usage}\n       {self.prog} --help", file=sys.stderr)
        self.exit(ExitCode.FAILED, f"dbm-gmx: error: {message}\n")

    def print_help(self, file: Any = None) -> None:
        """Print the help; what cannot be written is an error, not so in argparse."""
        print(self.format_help(), end="", file=file, flush=True)


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="dbm-gmx",
        description="Put the atoms back into coarse-grained GROMACS simulations.",
        epilog=f"{FIRST_STEPS}\n\n{documentation()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="store_true",
        help="Print the version; with -v also those of packages and GROMACS, and the number of threads.",
    )
    parser.add_argument("-v", dest="more", action="store_true", help="Print more details, with --version.")
    parser.add_argument(
        "--completion",
        choices=("bash", "zsh", "tcsh"),
        help="Print what completes commands in this shell.",
    )
    parser.set_defaults(quiet=False, verbose=False, log=None)  # commands without these options
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    for name, inside in every_parser(parser):
        inside.epilog, inside.formatter_class = epilog(name), argparse.RawDescriptionHelpFormatter
        inside.description = fill(inside.description or "", 100)
    return parser


def every_parser(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, Parser]]:
    """Yield the parser of each command, and of those inside, with its name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inside in action.choices.items():
                yield f"{name} {word}".strip(), inside
                yield from every_parser(inside, f"{name} {word}".strip())


def completion(parser: Parser, shell: str) -> str:
    """What a shell needs to complete commands.

    Raises
    ------
    InputError
        If shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise InputError(
            "completion needs shtab, which is not installed: pip install 'dbm-gmx[completion]'"
        ) from error
    of_files = {"FILE": shtab.FILE, "PATH": shtab.FILE, "FOLDER": shtab.DIRECTORY}
    for _, inside in every_parser(parser):
        for action in inside._actions:
            if action.metavar in of_files:
                action.complete = of_files[action.metavar]  # type: ignore[attr-defined]
    made: str = shtab.complete(parser, shell)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    If whoever reads our output has seen enough (``| head``), the program ends by SIGPIPE and without a word,
    as others do.
    """
    if arguments is None:
        _stand_in()
    try:
        return _answered(arguments)
    except BrokenPipeError:
        if arguments is None:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.raise_signal(signal.SIGPIPE)
        return 128 + signal.SIGPIPE


def _answered(arguments: Sequence[str] | None) -> int:
    """Parse, and do what is asked for; returns the exit code."""
    parser = build_parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    elif words and not words[0].startswith("-") and words[0] not in (commands := dict(every_parser(parser))):
        near = get_close_matches(words[0], commands, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        parser.error(f"there is no command {words[0]!r}{hint}; there are {', '.join(_names(parser))}")
    options = parser.parse_args(words)
    if options.version or options.completion is not None or options.command is None:
        return _caught(lambda: _tell(parser, options))
    # threads that wait must not burn the cores of others; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with answering(at_once=arguments is None):
        try:
            check_log(options)
            with speaking(quiet=options.quiet, verbose=options.verbose, log=options.log):
                command = dict(every_parser(parser))[options.command]
                return _run(options, command, is_program=arguments is None)
        except InputError as error:  # the log cannot be written
            print(f"dbm-gmx: error: {error}", file=sys.stderr)
            return ExitCode.FAILED


def _names(parser: Parser) -> list[str]:
    """The commands, but for those inside others."""
    return [name for name, _ in every_parser(parser) if " " not in name]


def _stand_in() -> None:
    """Open streams that whoever started us has closed, lest a file of ours is taken for one of them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
            setattr(sys, name, os.fdopen(descriptor, "w" if number else "r"))


def _tell(parser: Parser, options: argparse.Namespace) -> ExitCode:
    """Print what is asked for without a command."""
    if options.version:
        print(version_text(verbose=options.more))
    elif options.completion is not None:
        print(completion(parser, options.completion))
    else:
        parser.print_help()
    sys.stdout.flush()  # here, where it is caught that nothing can be written
    return ExitCode.DONE


def _run(options: argparse.Namespace, command: Parser, *, is_program: bool) -> int:
    """Run a command; returns the exit code."""
    try:
        return _caught(lambda: _checked(options, command))
    except KeyboardInterrupt as signal:
        said = f"interrupted ({signal})" if str(signal) else "interrupted"
        if is_program:
            end_now([said])
        print(f"dbm-gmx: {said}", file=sys.stderr)
    return ExitCode.FAILED


def _checked(options: argparse.Namespace, command: Parser) -> int:
    """Run a command after a look at its options, and at what is read and written."""
    check_idle(options, command)
    check_inputs(options)
    check_outputs(options)
    code = int(options.run(options))
    sys.stdout.flush()
    return code


_NO_MEMORY = re.compile("(can't allocate memory|out of memory|bad_alloc)[^.\n]*")


def _caught(action: Callable[[], int]) -> int:
    """Do something; what the user can mend is said, and makes the exit code."""
    try:
        return action()
    except BrokenPipeError:
        raise
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        said = str(error)
        if isinstance(error, MemoryError):
            said = f"not enough memory: {said}"
        elif isinstance(error, RuntimeError):  # as PyTorch says it
            if (found := _NO_MEMORY.search(said)) is None:
                raise
            said = f"not enough memory: {found[0]}"
        with suppress(OSError):
            print(f"dbm-gmx: error: {said}", file=sys.stderr)
    return ExitCode.FAILED
