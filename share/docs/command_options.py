"""The directive ``command``: the usage and the options of a command, taken from the parser of the program.

So a page of a command cannot say anything else than ``dbm-gmx COMMAND --help``.  Every option can be linked
to, as ``{option}`dbm-gmx backmap --spread```.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from dbm_gmx.cli import build_parser

COLUMNS = 84  # of the usage, as many as fit into a page


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser of a command, as ``backmap`` or ``map init``."""
    parser: argparse.ArgumentParser = build_parser()
    for word in command.split():
        inside = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        parser = inside[0].choices[word]
    return parser


def plain(text: str) -> str:
    """Return text in which nothing is Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$^:\"'.-])", r"\\\1", text)


def as_markdown(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield description, usage and options."""
    formatter = argparse.HelpFormatter(parser.prog, width=COLUMNS)
    yield from (plain(parser.description or ""), "", "```text")
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    yield from (*formatter.format_help().strip().splitlines(), "```", "")
    yield from (f":::{{program}} {parser.prog}", ":::", "")
    for group in parser._action_groups:
        told = [a for a in group._group_actions if a.help is not argparse.SUPPRESS]
        told = [a for a in told if not isinstance(a, argparse._SubParsersAction | argparse._HelpAction)]
        if not told:
            continue
        yield from (f"**{plain((group.title or 'options').capitalize())}**", "")
        if group.description:
            yield from (plain(group.description), "")
        for action in told:
            value = formatter._format_args(action, (action.metavar or action.dest).upper())
            if not action.option_strings:
                yield from (f"`{value}`", f": {plain(formatter._expand_help(action))}", "")
                continue
            taken = "" if action.nargs == 0 else f" {value}"
            yield f":::{{option}} {', '.join(name + taken for name in action.option_strings)}"
            yield from (plain(formatter._expand_help(action)), ":::", "")


class CommandDirective(SphinxDirective):
    """Usage, description and options of a command."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return what ``--help`` says, as part of the page."""
        parsed: list[nodes.Node] = self.parse_text_to_nodes(
            "\n".join(as_markdown(parser_of(self.arguments[0])))
        )
        return parsed


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("command", CommandDirective)
    return {"parallel_read_safe": True}
