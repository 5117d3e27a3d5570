"""Examples in the help of each command."""

from __future__ import annotations

from dbm_gmx.files.share import share_path

EXAMPLES = {
    "backmap": (
        "dbm-gmx backmap -s cg.tpr -f cg.xtc -p topol.top -m mapping.xml --mdp run.mdp -o aa.xtc",
        "dbm-gmx backmap -s cg.gro -cp cg.top -p topol.top -m mapping.xml -t 300 -o aa.gro",
    ),
    "map": (
        "dbm-gmx map -s aa.tpr -f aa.xtc -m mapping.xml -o cg.xtc",
        "dbm-gmx map -s aa.gro -p topol.top -m mapping.xml -o cg.gro -op cg.top -t 300",
    ),
    "map init": (
        "dbm-gmx map init -p topol.top -s cg.tpr -o mapping",
        "dbm-gmx map init -p topol.top --smiles 'HEX {[#A][#B]}.{#A=CCC[$],#B=[$]CCC}'",
    ),
    "relax": (
        "dbm-gmx relax -p topol.top -m mapping.xml -f aa.xtc --mdp run.mdp -o relaxed.xtc",
        "dbm-gmx relax -p topol.top -m mapping.xml -s aa.gro -t 300 -j 4 -o relaxed.gro",
    ),
    "join": (
        "dbm-gmx join aa_part1.xtc aa_part2.xtc aa_part3.xtc -o aa.xtc",
        "dbm-gmx join aa_part*.trr -o aa.trr",
    ),
    "evaluate": (
        "dbm-gmx evaluate -p topol.top -f aa.xtc -r reference.xtc -t 300 -o report",
        "dbm-gmx evaluate -p topol.top -f aa.xtc relaxed.xtc --cg cg.tpr cg.xtc -m mapping.xml --json",
    ),
    "view": (
        "dbm-gmx view aa.gro --cg cg.gro -p topol.top",
        "dbm-gmx view aa.gro --cg cg.gro --around 1204 --within 1.5 -o place.html",
    ),
    "train": ("dbm-gmx train train.toml", "torchrun --nproc-per-node 4 -m dbm_gmx train train.toml"),
    "models": ("dbm-gmx models", "dbm-gmx models out/model.pt"),
    "check": (
        "dbm-gmx check -s cg.tpr -f cg.xtc -p topol.top -m mapping.xml --mdp run.mdp",
        "dbm-gmx check -s cg.tpr -f cg.xtc -p topol.top -m mapping.xml --mdp run.mdp --converged aa.xtc",
    ),
    "plan": (
        "dbm-gmx plan -s cg.tpr -p topol.top -m mapping.xml",
        "dbm-gmx plan -s cg.gro -cp cg.top -p topol.top -m mapping.xml -v",
    ),
    "benchmark": (
        "dbm-gmx benchmark -s cg.tpr -p topol.top -m mapping.xml --mdp run.mdp",
        "dbm-gmx benchmark -s cg.tpr -f cg.xtc -p topol.top -m mapping.xml -t 300 --threads 4",
    ),
}


FIRST_STEPS = """\
first steps:
  dbm-gmx map init -p topol.top -s cg.tpr -o mapping
                        no mapping yet? It proposes one.
  dbm-gmx check -s cg.tpr -f cg.xtc -p topol.top -m mapping --mdp md.mdp
                        It says in seconds what would go wrong.
  dbm-gmx backmap -s cg.tpr -f cg.xtc -p topol.top -m mapping --mdp md.mdp -o aa.xtc -c aa.gro
                        It puts the atoms back.
  dbm-gmx COMMAND --help
                        the options of a command, and examples"""
"""Text after the list of commands."""


def epilog(command: str) -> str:
    """Text after the options of a command."""
    return "\n".join(["examples:", *(f"  {line}" for line in EXAMPLES[command]), "", documentation()])


def documentation() -> str:
    """Where the pages are in this installation."""
    return f"The documentation is in {share_path('docs')}; glossary.md there explains words."
