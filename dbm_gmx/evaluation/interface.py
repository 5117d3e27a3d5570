"""The evaluation as a function for Python: Universes or files in, an object with all numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import MDAnalysis as mda

from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.advice import advice
from dbm_gmx.evaluation.evaluation import CLASSIFIER, CONFORMATIONS, Evaluation
from dbm_gmx.evaluation.evaluation import evaluate as evaluate_files
from dbm_gmx.evaluation.report import scores_text, summary, write_report
from dbm_gmx.evaluation.tables import plain_scores
from dbm_gmx.files.mdp import conditions_given
from dbm_gmx.given import limits_of, listed
from dbm_gmx.options import EvaluateInputs
from dbm_gmx.parallel import thread_count, using_threads

if TYPE_CHECKING:
    import pandas as pd

Numbers = dict[str, Any]


class EvaluationResults(Evaluation):
    """All that is known of candidates; the numbers are those of the page and of ``scores.json``.

    ``candidates`` holds what was measured in each frame, ``scores`` the distances from the reference,
    ``differences`` the energies less those of the reference: see
    :class:`~dbm_gmx.evaluation.evaluation.Evaluation`.
    """

    def __repr__(self) -> str:
        """What the candidates are good for."""
        said = ", ".join(f"{one.label}: {advice(self, one).use}" for one in self.candidates)
        return f"<Evaluation of {said}>"

    @property
    def passed(self) -> bool:
        """Whether no candidate breaks a rule."""
        return not self.broken

    def summary(self) -> str:
        """The main things in a few lines, as the command prints them."""
        return summary(self, None)

    def to_dict(self) -> Numbers:
        """All numbers in plain types, as in ``scores.json``."""
        return plain_scores(self)

    def to_json(self) -> str:
        """The same as JSON."""
        return scores_text(self)

    def to_dataframe(self) -> pd.DataFrame:
        """Distances from the reference: a row for each candidate and score.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        rows = [
            {"candidate": label, "group": group, "name": name}
            | {"value": score.value, "error": score.error, "floor": score.floor}
            for label, scores in self.scores.items()
            for (group, name), score in scores.items()
        ]
        return _pandas().DataFrame(rows, columns=["candidate", "group", "name", "value", "error", "floor"])

    def energies(self) -> pd.DataFrame:
        """Energies by term, kJ/mol: a row for each frame of each trajectory, the reference first.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        rows = [
            {"trajectory": one.label, "time": found.time} | found.energies
            for one in self.everything
            for found in one.measured
        ]
        return _pandas().DataFrame(rows)

    def report(self, folder: str | Path) -> Path:
        """Write the report; an older one is backed up.

        Returns
        -------
        The page.

        Raises
        ------
        InputError
            If matplotlib is missing, or the folder holds something that is no report.
        """
        return write_report(self, Path(folder))


def _pandas() -> Any:
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise InputError(
            "a table needs pandas, which is not installed: pip install 'dbm-gmx[table]'; "
            "to_dict() does without"
        ) from error
    return pd


def evaluate(
    trajectories: Any,
    topology: str | Path,
    *,
    reference: Any = None,
    cg: Any = (),
    cg_topology: str | Path | None = None,
    mapping: Any = (),
    labels: Sequence[str] = (),
    temperature: float | None = None,
    mdp: str | Path | None = None,
    cutoff: float | None = None,
    begin: float | None = None,
    end: float | None = None,
    dt: float | None = None,
    allow: Sequence[str] = (),
    limits: Mapping[str, float] | None = None,
    conformations: bool = True,
    classifier: bool = True,
    seed: int = 1,
    n_workers: int | None = None,
    verbose: bool = False,
) -> EvaluationResults:
    """Evaluate atoms, beside a reference if there is one, as ``dbm-gmx evaluate`` does.

    Parameters
    ----------
    trajectories
        Candidates: a Universe, a group of it, a file, or several of these.
    topology
        Atomistic ``.top``.
    reference
        Atoms to compare with, a Universe or a file; or one molecule that defines the stereocentres.
    cg, cg_topology, mapping
        Files of the beads that the atoms were made for, their ``.top``, and mapping files.
    labels
        Names of the candidates.
    temperature, mdp, cutoff
        The ensemble: K, a file, nm.
    begin, end, dt
        Times of the frames that are taken, ps.
    allow, limits
        Rules that may be broken, and thresholds by rule.
    conformations, classifier
        Whether these parts are done, which take long and need a reference and ``dbm-gmx[report]``.
    seed
        Of the error bars, the floor, the conformational space and the classifier.
    n_workers
        Processors to use; all if not given.
    verbose
        Show bars.

    Raises
    ------
    InputError
        If any input cannot be used.
    """
    candidates = _several(trajectories)
    conditions, told = conditions_given(mdp, temperature, cutoff)
    slow = [part for part, wanted in ((CONFORMATIONS, conformations), (CLASSIFIER, classifier)) if wanted]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="dbm-gmx-")))
        names = list(labels) or [f"candidate{k}" for k in range(1, len(candidates) + 1)]
        if len(names) != len(candidates):
            raise InputError(f"{len(names)} labels for {len(candidates)} trajectories")
        paths = [_file(one, folder, name) for one, name in zip(candidates, names, strict=True)]
        with_universe = any(not isinstance(one, str | Path) for one in candidates)
        inputs = EvaluateInputs(
            Path(topology),
            tuple(paths),
            tuple(names) if labels or with_universe else (),
            None if reference is None else _file(reference, folder, "reference"),
            tuple(map(Path, listed(cg))),
            None if cg_topology is None else Path(cg_topology),
            tuple(map(Path, listed(mapping))),
            *(begin, end, dt),
            told.defines,
            told.include,
            limits_of(limits, allow),
        )
        workers = n_workers or thread_count()
        stack.enter_context(using_threads(1))  # frames are what is worked on side by side
        found = evaluate_files(
            inputs, conditions=conditions, slow=slow, seed=seed, workers=workers, quiet=not verbose
        )
    return EvaluationResults(**{one.name: getattr(found, one.name) for one in fields(found)})


def _several(given: Any) -> list[Any]:
    """The candidates in a list."""
    one = isinstance(given, str | Path | mda.Universe | mda.AtomGroup)
    found = [given] if one else list(given)
    if not found:
        raise InputError("no trajectory to evaluate")
    return found


def _file(given: Any, folder: Path, name: str) -> Path:
    """The file of a trajectory; a Universe is written to one that is exact.

    Raises
    ------
    InputError
        It is something else.
    """
    if isinstance(given, str | Path):
        return Path(given)
    if not isinstance(given, mda.Universe | mda.AtomGroup):
        raise InputError(f"a Universe, an AtomGroup or a file is needed, found {given!r:.80}")
    path = folder / f"{name.replace('/', '_')}.trr"
    before = given.universe.trajectory.frame
    given.atoms.write(str(path), frames="all")
    given.universe.trajectory[before]
    return path
