"""The commands of README.md are those of the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from dbm_gmx.cli import build_parser

README = Path(__file__).resolve().parent.parent / "README.md"


def test_every_command_can_be_given_so() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.rpartition("&& ")[2] for block in blocks for line in block.splitlines()]
    lines = [line.replace("python share/recipes/cluster/slurm.py --jobs 16 --", "dbm-gmx") for line in lines]
    commands = [shlex.split(line, comments=True) for line in lines if "dbm-gmx " in line]
    used = {build_parser().parse_args(words[1:]).command for words in commands}
    assert used >= {"backmap", "map", "relax", "check", "plan", "benchmark", "evaluate", "join"}
