r"""The figures of the paper for several models, each beside what the paper says of it: one page.

    paper.py FOLDER OUT LABEL=XTC... [--mdp RUN.mdp]

``FOLDER`` holds ``topol.top``, ``aa.xtc``, ``cg.tpr``, ``cg.xtc`` and ``mapping.xml`` of the reference, as
those in ``share/reference``; each ``XTC`` was made from its beads.  A label ``GROUP/NAME`` puts all of a
group beside each other, as the paper does with the models trained on polystyrene (left) and on octane and
cumene (right), and gives the same name the same colour in each:

    paper.py share/reference/sps figures sPS/none=a.xtc sPS/p1=b.xtc sPS/p2=c.xtc \\
        transferred/none=d.xtc transferred/p1=e.xtc transferred/p2=f.xtc sampler/exact=g.xtc

``OUT`` gets ``index.html``, which opens without a network, and ``scores.json``.  Needs the extra ``report``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from dbm_gmx.evaluation.compare import REFERENCE
from dbm_gmx.evaluation.evaluation import Evaluation, evaluate
from dbm_gmx.evaluation.figures import colours_of, draw_figures
from dbm_gmx.evaluation.page import Head, conformation_table, fill_page, method, rule_table, score_table
from dbm_gmx.evaluation.report import scores_text
from dbm_gmx.evaluation.tables import PARTS, Panel, panels
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.options import Conditions, EvaluateInputs

PAPER = {
    "angle": (
        "Fig 2: angles",
        "The C-C-C angle of the backbone is reproduced &ldquo;with high accuracy&rdquo; by models "
        "trained on sPS and &ldquo;overly broad&rdquo; with those trained on octane and cumene. For the "
        "other angles the opposite holds: models trained on sPS make them slightly too narrow, "
        "transferred ones come remarkably close. The prior has &ldquo;only a marginal effect&rdquo;.",
    ),
    "dihedral": (
        "Fig 3: proper dihedrals",
        "C-C-C-C of the backbone is well reproduced by models trained on sPS; transferred ones fail to "
        "reproduce the height of the main peak and have no side peak. C-C-C-H is slightly worse for them"
        " as well. The prior does not influence dihedrals.",
    ),
    "improper": (
        "Fig 3: improper dihedrals",
        "Impropers of the phenyl rings are reproduced &ldquo;virtually equally well&rdquo; for both "
        "training sets, and slightly too narrow.",
    ),
    "Lennard-Jones": (
        "Fig 4 a-d: Lennard-Jones energy of each chain",
        "Trained on sPS, prior p2 and no prior match well, with slightly large tails to high energies, "
        "and p1 over-stabilises: it shifts the distributions to lower energies. Transferred, it is the "
        "other way round: p2 and no prior lead to significantly high energies, p1 &ldquo;dramatically "
        "improves the performance&rdquo;.",
    ),
    "g(r)": (
        "Fig 4 e, f: pairs of carbons that are not bonded",
        "All models reproduce g(r) &ldquo;remarkably well&rdquo;.",
    ),
    "map": (
        "Fig 5: conformational space",
        "What is generated overlaps significantly with the points of the reference: high fidelity beyond"
        " pairs. (The paper draws the map with Sketch-map, from SOAP environments of monomers without "
        "hydrogens.)",
    ),
    "confusion": (
        "Fig 6: from cluster to cluster",
        "The matrix becomes most diagonal without a prior, for both training sets. But one set of beads "
        "belongs to many microstates, which need not be of one cluster.",
    ),
    "populations": (
        "Fig 6: populations of the clusters",
        "More important: the populations should match. Trained on sPS, p2 and no prior lead to an "
        "&ldquo;excellent match&rdquo;; transferred, all priors do comparably, &ldquo;with limited "
        "reproduction of the relative populations&rdquo;.",
    ),
}
"""Figures in the order of the page: heading, and what the paper says."""

ONE_OF_PAIRS = ("gr_carbon", "gr_heavy")
"""Of the pair distributions the paper has that of all carbons only."""


def main(words: Sequence[str] | None = None) -> None:
    """Make the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("candidates", nargs="+", metavar="LABEL=XTC")
    parser.add_argument("--mdp", type=Path, help="temperature and cut-offs (run.mdp of the folder)")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(words)
    named = dict(text.split("=", 1) for text in given.candidates)
    folder, mdp = given.folder, given.mdp or given.folder / "run.mdp"
    conditions = read_mdp(mdp)[0] if mdp.exists() else Conditions()
    inputs = EvaluateInputs(
        folder / "topol.top",
        tuple(Path(path) for path in named.values()),
        labels=tuple(named),
        reference=folder / "aa.xtc",
        cg=(folder / "cg.tpr", folder / "cg.xtc"),
        mappings=(folder / "mapping.xml",),
    )
    evaluation = evaluate(
        inputs, conditions=conditions, slow=("conformations",), workers=given.threads, quiet=False
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "index.html").write_text(page(evaluation))
    (given.out / "scores.json").write_text(scores_text(evaluation))


def groups_of(evaluation: Evaluation) -> dict[str, list[str]]:
    """Labels by group."""
    groups: dict[str, list[str]] = {}
    for label in evaluation.scores:
        groups.setdefault(label.rpartition("/")[0], []).append(label)
    return groups


def beside_each_other(plots: Sequence[Panel], groups: Mapping[str, Sequence[str]]) -> Iterator[Panel]:
    """Each plot once for every group, with what is not of another one."""
    for panel in plots:
        if panel.figure not in PAPER or (panel.figure == "g(r)" and panel.name not in ONE_OF_PAIRS):
            continue
        if panel.form in ("matrix", "scatter"):
            yield panel
            continue
        for group, labels in groups.items():
            others = {label for some in groups.values() for label in some} - set(labels)
            columns = {
                name.rpartition("/")[2]: column
                for name, column in panel.columns.items()
                if name.removesuffix(" error") not in others
            }
            yield replace(panel, title=f"{panel.title} ({group})" if group else panel.title, columns=columns)


def page(evaluation: Evaluation) -> str:
    """The page."""
    groups = groups_of(evaluation)
    by_name = colours_of(list(dict.fromkeys(label.rpartition("/")[2] for label in evaluation.scores)))
    colours = by_name | {label: by_name[label.rpartition("/")[2]] for label in evaluation.scores}
    plots = list(beside_each_other(panels(evaluation), groups))
    maps = [panel for panel in plots if panel.form in ("matrix", "scatter")]
    others = [panel for panel in plots if panel.form not in ("matrix", "scatter")]
    figures = draw_figures(others, colours, across=len(groups), same=True) | draw_figures(maps, colours)
    keys = list(next(iter(evaluation.scores.values())))
    parts = [rule_table(evaluation)]
    for name, (heading, said) in PAPER.items():
        if name not in figures:
            continue
        rows = [key for key in keys if key[0] == name and name not in PARTS]
        rows = rows[:1] if name == "g(r)" else rows
        below = score_table(evaluation, rows, metric=True) if rows else ""
        below += conformation_table(evaluation) if name == "populations" else ""
        parts.append(
            f'<h2>{heading}</h2><div class="beside"><figure>{figures[name]}</figure>'
            f"<aside><b>The paper:</b> {said}</aside></div>{below}"
        )
    parts.append(
        "<h2>Table S1: Jensen-Shannon divergences</h2><p>The paper: performance varies between scenarios "
        "and interactions, without clear trends between angles and dihedrals. In brackets the floor, between "
        "parts of the reference.</p>"
        + score_table(evaluation, [key for key in keys if key[0] in PARTS], metric=False)
    )
    reference = evaluation.reference
    assert reference is not None
    moltypes = ", ".join(f"{count} {name}" for name, count in evaluation.system.topology.molecules)
    frames = f"{len(reference.frames)} frames of an atomistic run ({REFERENCE})"
    lead = (
        f"{moltypes}, {evaluation.conditions.temperature:g} K, {frames}; beads of the same frames "
        "put back. The paper: Stieffenhofer, Bereau, Wand, APL Materials 9, 031107 (2021)."
    )
    return fill_page(Head("The figures of the paper", escape(lead)), "\n".join(parts), method(evaluation))


if __name__ == "__main__":
    main()
