"""What atoms are good for, in one word and its reasons: to simulate, to relax first, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dbm_gmx.evaluation.compare import BEYOND
from dbm_gmx.evaluation.evaluation import Evaluation, Trajectory
from dbm_gmx.evaluation.tables import is_off, strange_classes
from dbm_gmx.forcefield.equilibrium import SUMS
from dbm_gmx.options import RULES, STEREO

SAFE, RELAX, WRONG = "safe to simulate", "relax first", "wrong molecule"

MEANING = {
    SAFE: "No hard rule is broken and no energy is off. A simulation may start from these atoms.",
    RELAX: "The molecules are right, but atoms are too close, bonds too long, or energies off. Minimise and "
    "equilibrate before you measure anything: dbm-gmx relax does both.",
    WRONG: "Names, chirality, double bonds or rings are not those of the molecule. No simulation mends that. "
    "Do not use these atoms: make them again.",
}
"""What each word means for use."""

UNMENDED = (*STEREO, "pierced")
"""Rules that no simulation mends once they are broken."""

NAMED = 4
"""Terms that are named, at most."""


@dataclass(frozen=True)
class Advice:
    """What a candidate is good for.

    Attributes
    ----------
    use
        One of :data:`MEANING`.
    why
        Reasons, as sentences.
    """

    use: str
    why: tuple[str, ...]


def advice(evaluation: Evaluation, candidate: Trajectory) -> Advice:
    """Say what a candidate is good for.

    Rules that may be broken (``--allow``) do not count.  Energies count where they are off by more than
    :data:`~dbm_gmx.evaluation.compare.BEYOND` and chance; without a reference the means and widths of bonds
    and angles do.
    """
    verdict = candidate.verdict
    if verdict.differing:
        return Advice(WRONG, (f"The atoms are not those of the topology: {verdict.differing}.",))
    broken = verdict.broken
    why = [f"Found: {', '.join(RULES[rule].words for rule in broken)}."] if broken else ["All rules hold."]
    off = list(_strained(evaluation, candidate))
    use = WRONG if set(broken) & set(UNMENDED) else RELAX if broken or off else SAFE
    return Advice(use, (*why, *off, *_words_beside(evaluation, candidate, bool(off))))


def _strained(evaluation: Evaluation, candidate: Trajectory) -> Iterator[str]:
    """Say which energies, or bonds and angles, are off."""
    energies = evaluation.differences.get(candidate.label)
    if energies is not None:
        off = energies.beyond(BEYOND)
        found = [
            f"{name} {value:+.3f}"
            for name, value, is_term_off in zip(energies.names, energies.difference, off, strict=True)
            if is_term_off and name not in SUMS
        ]
        sums = [name for name in SUMS if off[energies.names.index(name)]]
        found[:0] = [f"in {name} {energies.row(name)[0]:+.3f}" for name in sums]
        if found:
            yield f"Energies less the reference's, kT per atom: {_listed(found)}."
    elif evaluation.reference is None and (found := strange_classes(evaluation, candidate)):
        yield f"Not what the force field's terms make: {_listed(found)}."


def _words_beside(evaluation: Evaluation, candidate: Trajectory, is_strained: bool) -> Iterator[str]:
    """Say what the reader should know beside the verdict."""
    if evaluation.reference is None:
        yield "There is no reference (-r): energies were not compared."
        return
    score = evaluation.scores[candidate.label].get(("energy", "Potential"))
    if score is not None and is_off(score) and not is_strained:
        yield (
            f"The potential is red in the table of scores: {score.value:+.3g} kJ/mol per molecule. No term "
            f"is off by more than {BEYOND:g} kT per atom and chance: a short equilibration removes that."
        )


def _listed(found: list[str]) -> str:
    more = len(found) - NAMED
    return ", ".join(found[:NAMED]) + (f" and {more} more" if more > 0 else "")
