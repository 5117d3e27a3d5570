"""How a reconstruction was made, for the file beside its output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from dbm_gmx.backmapping.ready import Ready
from dbm_gmx.backmapping.summary import Report
from dbm_gmx.files.provenance import Provenance, Started, described
from dbm_gmx.files.record import Record
from dbm_gmx.options import Inputs
from dbm_gmx.sampling.preparation import Preparation
from dbm_gmx.sampling.recollection import Remembered

DIGITS = 6
"""Of numbers in which parts of a run must agree: machines round differently."""


def provenance_of(
    inputs: Inputs, record: Record, ready: Ready, report: Report, started: Started
) -> Provenance:
    """All that is to be said of a run that has ended.

    Parameters
    ----------
    inputs
        What was rebuilt.
    record
        Of the run: its files and settings.
    ready
        What was settled before the first frame.
    report
        What was found in the frames.
    started
        When it began.
    """
    settings = {key: value for key, value in record.job.settings.items() if key != "part"}
    conditions = ready.mapper.conditions
    settings |= {"source": conditions.source, "temperature": conditions.temperature}
    return Provenance(
        record.job.command,
        record.inputs,
        settings,
        findings_of(ready),
        figures_of(report),
        report.text(),
        None if inputs.part is None else {"number": inputs.part[0], "of": inputs.part[1]},
        report.broken,
        started,
    )


def findings_of(ready: Ready) -> dict[str, Any]:
    """What was found out before the first frame; parts of one run agree in ``decided``."""
    prepared, remembered = ready.prepared, ready.remembered
    return {
        "decided": _decided(prepared, remembered),
        "preparation": None if prepared is None else described(prepared),
        "memory": None if remembered is None else _memory(remembered),
        "cpu_seconds": dict(ready.once),
    }


def digest_of(ready: Ready) -> str:
    """Digest of what was decided before the first frame."""
    decided = json.dumps(described(_decided(ready.prepared, ready.remembered)), sort_keys=True)
    return blake2b(decided.encode(), digest_size=8).hexdigest()


def _decided(prepared: Preparation | None, remembered: Remembered | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if prepared is not None:
        widths = {" ".join(types): round(strain.width, DIGITS) for types, strain in prepared.strain.items()}
        found |= {**prepared.effort._asdict(), "widths": widths}
    if remembered is not None:
        how = remembered.how
        kinds = ("offers", "windows", "sweeps")
        found["recalled"] = None if how is None else {kind: getattr(how, kind) for kind in kinds}
    return found


def _memory(remembered: Remembered) -> dict[str, Any]:
    return {
        "said": remembered.line(),
        "frames": sorted(remembered.done),
        "excess": remembered.excess,
        "misfit": remembered.misfit,
        "file": remembered.file,
    }


def figures_of(report: Report) -> Mapping[str, Any]:
    """The report as plain values; of what there is one for each frame, the sum and the largest."""
    refinement = replace(report.refinement, unsettled=(), twins=())
    found: dict[str, Any] = described(replace(report, contacts=(), refinement=refinement, prepared=None))
    del found["prepared"], found["remembered"], found["against"], found["refinement"]["twins"]
    found["frames"] = report.frames
    found["contacts"] = {"sum": sum(report.contacts), "most": max(report.contacts, default=0)}
    found["refinement"]["unsettled"] = len(report.refinement.unsettled)
    found["equilibrium"] = {"converged": report.converged, "said": report.convergence()}
    found["rms_deviation"] = report.rms_deviation
    return found
