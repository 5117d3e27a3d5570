"""What the tests do not notice: mistakes made on purpose, one at a time, and a list of those that survive.

    python tests/mutations.py                all, an hour or more
    python tests/mutations.py NAME ...       some
    python tests/mutations.py --list         the names, and whether their texts are found in the code

Each mistake is made in a fresh copy of the project, and the tests that should notice are run there.  The exit
code is 1 if a mistake survives or a text is not found.  Not part of the checks of a commit: run it by hand
after a change of the tests or of what they test, and adapt the texts below to the code.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("dbm_gmx", "tests", "share", ".github", "pyproject.toml", "setup.cfg", "README.md", "LICENSE")
PACKAGE = "dbm_gmx"

Edit = tuple[str, str, str]  # file in the package, the text there, once, and what is put in its place

STAGES, DEFAULT = "tests/test_stages.py", "tests/test_default.py"
WINDOWS, MEMORY = "tests/test_window_annealing.py", "tests/test_memory.py"
KEPT = "tests/test_memory_file.py"


@dataclass(frozen=True)
class Mutation:
    """A mistake.

    Attributes
    ----------
    name
        What it is called.
    tests
        Arguments for pytest, of what should notice.
    edits
        How it is made.
    """

    name: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]


def one(name: str, tests: str, file: str, old: str, new: str) -> Mutation:
    """A mistake of one edit; the tests are words."""
    return Mutation(name, tuple(tests.split()), ((file, old, new),))


MUTATIONS = [
    # --- documentation
    one(
        "an option has another name than in the pages",
        "tests/test_docs.py",
        "commands/arguments.py",
        '("--leave-out", "Do not',
        '("--drop", "Do not',
    ),
    one(
        "an example has an option that is there no more",
        "tests/test_docs.py -k given_so",
        "commands/map.py",
        '"-op",',
        '"-ot",',
    ),
    # --- numbers and names that GROMACS takes otherwise
    one(
        "numbers-of-python",
        "tests/test_damaged.py tests/test_mdp.py tests/test_residue_mappings.py -k numbers",
        "files/text.py",
        'if "_" in word or not word.isascii():\n        raise ValueError(f"could not',
        'if False:\n        raise ValueError(f"could not',
    ),
    one(
        "signs-in-names-count",
        "tests/test_mdp.py -k signs",
        "files/mdp_keys.py",
        'name.lower().replace("-", "").replace("_", "")',
        "name.lower()",
    ),
    one(
        "unknown-names-are-not-said",
        "tests/test_mdp.py -k does_not_know",
        "files/mdp.py",
        "    say_unknown(entries)\n",
        "",
    ),
    one(
        "times-that-no-file-holds",
        "tests/test_damaged.py -k out_of_range",
        "chemistry/frame.py",
        "if not abs(frame.time) <= LATEST",
        "if not abs(frame.time) <= 1e308",
    ),
    one(
        "a-log-is-added-to-an-input",
        "tests/test_damaged.py -k outputs_that_are",
        "cli.py",
        "            check_log(options)\n",
        "",
    ),
    one(
        "a-log-is-added-to-any-file",
        "tests/test_damaged.py -k outputs_that_are",
        "commands/paths.py",
        "        check_ours(path)\n",
        "",
    ),
    one(
        "a-full-log-ends-a-run",
        "tests/test_start_up.py -k full_disk",
        "logs.py",
        "            self._lost = True\n",
        "            raise\n",
    ),
    one(
        "what-was-changed-meanwhile-is-finished",
        "tests/test_output.py tests/test_resume.py -k changed_meanwhile or spoilt",
        "files/record.py",
        "                part.check()\n",
        "                pass\n",
    ),
    one(
        "frames-that-are-gone-are-said-to-be-kept",
        "tests/test_output.py -k goes_away",
        "files/output.py",
        "if not self._is_there():\n            return [f",
        "if False:\n            return [f",
    ),
    one(
        "two-runs-have-one-record",
        "tests/test_resume.py -k one_run_at_a_time",
        "files/record.py",
        "[output, *files, path]",
        "[output, *files]",
    ),
    one(
        "a-checkpoint-may-be-damaged",
        "tests/test_train.py -k flipped_bit",
        "network/model.py",
        "    if sealed(content[:end]) != content:",
        "    if False:",
    ),
    one(
        "a-damaged-finished-frame-is-a-traceback",
        "tests/test_relax.py -k damaged_finished",
        "gromacs/finished.py",
        "except Exception:",
        "except (OSError, ValueError, EOFError):",
    ),
    one(
        "a-bond-may-have-no-length",
        "tests/test_rules.py -k crush",
        "chemistry/rules.py",
        "np.maximum(stretch, 1 / np.maximum(stretch, SHORTEST))[:, known]",
        "stretch[:, known]",
    ),
    # --- users
    one(
        "molecules of one residue all have the number that their topology has",
        "tests/test_trajectory.py -k same_numbers",
        "chemistry/topology.py",
        "yield from [number] * moltype.n_atoms if single else given[moltype.name]",
        "yield from given[moltype.name]",
    ),
    one(
        "times without frames are found out after the trials",
        "tests/test_backmap.py -k before_any_trial",
        "backmapping/backmap.py",
        "    if total == 0:\n",
        "    if total == -1:\n",
    ),
    one(
        "a refinement that does not exist is none",
        "tests/test_python.py -k wrong_input",
        "backmapping/choices.py",
        "    for name in WORDS.keys() & given:\n",
        "    for name in ():\n",
    ),
    one(
        "beads that were not compared count as right",
        "tests/test_evaluate.py -k not_looked_at",
        "evaluation/tables.py",
        ' if rule != "beads" or t.label in beads else ()',
        "",
    ),
    one(
        "order-of-directives-is-not-looked-at",
        "tests/test_top.py -k order",
        "files/top.py",
        "    _check_order(sections)\n",
        "",
    ),
    one(
        "elements-by-mass-of-repartitioned-atoms",
        "tests/test_top.py -k taken_mass",
        "files/top.py",
        "    set_repartitioned(graph, names)\n",
        "",
    ),
    one(
        "atoms-that-share-names-are-written-by-name",
        "tests/test_mapping.py -k share_names",
        "files/mapping_writer.py",
        "    return keys if len(set(keys)) == len(keys) else",
        "    return keys if True else",
    ),
    one(
        "numbers-of-atoms-before-their-names",
        "tests/test_mapping.py -k numbers_of_atoms",
        "files/votca.py",
        "    return max(readings, key=len)",
        "    return max(readings[::-1], key=len)",
    ),
    one(
        "centres-between-branches-that-differ-in-chirality",
        "tests/test_stereo_bonds.py -k differ_in_chirality",
        "chemistry/stereo.py",
        "    centres |= {i for i, alike in pairs.items()",
        "    centres |= {i for i, alike in ()",
    ),
    one(
        "united-ch-are-held-whatever-holds-them",
        "tests/test_stereo_bonds.py -k united_ch",
        "chemistry/stereo.py",
        "    hidden = is_united_ch(moltype, i) and moltype.inversions.get(i, math.inf) > LOOSE\n",
        "    hidden = is_united_ch(moltype, i)\n",
    ),
    one(
        "inversions-with-an-angle-missing",
        "tests/test_stereo_bonds.py -k united_ch",
        "forcefield/torsions.py",
        "    if len(angles) < 3:\n",
        "    if len(angles) < 1:\n",
    ),
    one(
        "centres-between-equal-branches-are-judged",
        "tests/test_stereo_bonds.py -k equal_branches",
        "chemistry/stereo.py",
        "first.get(i) == i or i in equal",
        "first.get(i) == i",
    ),
    one(
        "branches-are-equal-whatever-their-chirality",
        "tests/test_stereo_bonds.py -k equal_branches",
        "chemistry/stereo.py",
        "        if first and first == second:\n",
        "        if first:\n",
    ),
    one(
        "a-name-of-gromacs-2024-is-unknown",
        "tests/test_mdp.py -k newer",
        "files/mdp_keys.py",
        "mass-repartition-factor",
        "",
    ),
    one(
        "restraints-of-dihedrals-count-where-they-are-defined-only",
        "tests/test_stereo_bonds.py -k restraints_of",
        "files/top.py",
        "    if any(DIHRES in read_text(file) for file in files):\n",
        "    if False:\n",
    ),
    one(
        "restraints-of-dihedrals-say-the-mirror-image",
        "tests/test_stereo_bonds.py -k restraints_of",
        "files/top.py",
        "turning = (last, second) if (phi",
        "turning = (last, second) if not (phi",
    ),
    one(
        "chains-end-in-side-groups",
        "tests/test_chirality.py -k side_groups",
        "chemistry/tacticity.py",
        "        path = _without_side_group(moltype, path, part)[::-1]\n",
        "        path = path[::-1]\n",
    ),
    one(
        "restraints-of-atoms-that-are-not-there",
        "tests/test_top.py -k order",
        "files/top.py",
        "        _check_restraints(group, moltype.n_atoms)\n",
        "",
    ),
    one(
        "sound-angles-are-strange",
        "tests/test_evaluate.py -k sound",
        "evaluation/tables.py",
        "max(SHIFTED[part] * wanted, slack)",
        "max(wanted, slack)",
    ),
    one(
        "divergence-of-next-to-nothing",
        "tests/test_evaluate.py -k divergence",
        "evaluation/distributions.py",
        "np.where(mean > 0.0, rel_entr(p, mean) + rel_entr(q, mean), 0.0)",
        "(rel_entr(p, mean) + rel_entr(q, mean))",
    ),
    # --- molecules bonded to images of their own
    one(
        "one-image-of-a-partner-is-hidden",
        "tests/test_winding.py -k sweeps",
        "sampling/energy.py",
        "                j = other[j] if place.lattice is not None else -1\n",
        "                break\n",
    ),
    one(
        "what-turns-is-turned-about-any-image-of-an-axis",
        "tests/test_winding.py -k sweeps",
        "sampling/sweep.py",
        "        here[d] += step[d]\n",
        "        here[d] += 0.0 * step[d]\n",
    ),
    one(
        "gromacs-is-not-told-of-bonds-through-the-box",
        "tests/test_winding.py -k goes_on",
        "gromacs/workdir.py",
        "bonded_through_the_box(text, frame)",
        "text",
    ),
    # --- mappings of residues, and proposals
    one(
        "a bead named twice for an atom counts once",
        "tests/test_residue_mappings.py",
        "files/backward.py",
        "count / total for bead, count in counts.items()",
        "1.0 / len(counts) for bead, count in counts.items()",
    ),
    one(
        "chirality of a mapping the other way round",
        "tests/test_residue_mappings.py",
        "chemistry/stereo.py",
        "return -1 if parity > 0 else 1",
        "return 1 if parity > 0 else -1",
    ),
    one(
        "more hydrogens of an end do not count",
        "tests/test_residue_mappings.py",
        "chemistry/residues.py",
        "if element and centre in parts[bead] and (counted or lost):",
        "if element and centre in parts[bead] and counted:",
    ),
    one(
        "united atoms alike whatever their masses",
        "tests/test_proposals.py",
        "chemistry/proposal.py",
        'return alike and abs(one["mass"] - two["mass"]) < MASS',
        "return alike",
    ),
    one(
        "numbers too long for a .gro are written",
        "tests/test_names.py",
        "files/trajectory.py",
        "if columns.size and not (columns.min() > LOWEST and columns.max() < HIGHEST):",
        "if False:",
    ),
    # --- molecules of beads and of atoms
    one(
        "what-could-be-exchanged-is-taken-in-order",
        "tests/test_matching.py -k exchanged",
        "chemistry/mismatch.py",
        "if exchanged >= as_is >= 0:",
        "if exchanged > as_is >= 0:",
    ),
    one(
        "beads-are-compared-and-not-put-in-order",
        "tests/test_matching.py -k reorder",
        "chemistry/matching.py",
        "changed.append(alike if order is None else replace(alike, beads=alike.beads[:, order]))",
        "changed.append(alike)",
    ),
    one(
        "frames-keep-the-order-of-the-structure",
        "tests/test_parts_of_systems.py -k reorder_puts_beads",
        "files/system.py",
        "frames = in_order(in_order(frames, order), self.beads.rows)",
        "frames = in_order(frames, order)",
    ),
    one(
        "water-is-taken-twice",
        "tests/test_matching.py -k hydrated",
        "chemistry/sides.py",
        "runs[k] = Run(name, run.molecules[here:])",
        "runs[k] = run",
    ),
    one(
        "interactions-keep-their-rows",
        "tests/test_matching.py -k between_molecules",
        "chemistry/matching.py",
        "return replace(group, atoms=atoms[keep],",
        "return replace(group, atoms=group.atoms[keep],",
    ),
    one(
        "what-has-no-box-is-written-with-one",
        "tests/test_parts_of_systems.py -k without_a_box",
        "files/trajectory.py",
        "if frame.free:",
        "if False:",
    ),
    # --- workers elsewhere, parts, provenance
    one(
        "results-as-they-come",
        "tests/test_cluster.py -k in_order",
        "parallel.py",
        "                result = pending[0].result()  # still pending, should we be interrupted here\n"
        "                pending.popleft()",
        "                first = next((f for f in pending if f.done()), pending[0])\n"
        "                result = first.result()\n"
        "                pending.remove(first)",
    ),
    one(
        "workers-of-any-version",
        "tests/test_cluster.py -k another_version",
        "cluster.py",
        "if here[name] != wanted:",
        "if False:",
    ),
    one(
        "what-is-shared-goes-with-every-job",
        "tests/test_cluster.py -k sent_once",
        "cluster.py",
        "executor.submit(_do, name, job)",
        "executor.submit(work, job)",
    ),
    one(
        "a-network-s-frames-are-sent-alone",
        "tests/test_cluster.py tests/test_parts.py -k together",
        "backmapping/rebuilder.py",
        "if self.settings.uses_network else 1",
        "if False else 1",
    ),
    one(
        "frames-of-a-part-are-numbered-from-0",
        "tests/test_parts.py -k numbers",
        "backmapping/backmap.py",
        "begin=beads.offset + done",
        "begin=done",
    ),
    one(
        "a-missing-part-is-not-missed",
        "tests/test_parts.py -k missing",
        "files/join.py",
        "    if first.of > len(numbers):",
        "    if False:",
    ),
    one(
        "parts-of-any-run-are-joined",
        "tests/test_parts.py -k other_runs",
        "files/join.py",
        "        if differ:",
        "        if False:",
    ),
    one(
        "a-changed-part-is-joined",
        "tests/test_parts.py -k changed",
        "files/join.py",
        'if facts_of(path).sha256 != made["output"].get("sha256"):',
        "if False:",
    ),
    one(
        "an-old-description-stays",
        "tests/test_parts.py -k go_with_their_output",
        "files/output.py",
        "for one in (path, description_of(path)) if",
        "for one in (path,) if",
    ),
    one(
        "trr-frames-without-positions-are-counted",
        "tests/test_parts.py -k without_positions",
        "files/xdr.py",
        "                if head.has_positions:\n                    yield head.time",
        "                yield head.time",
    ),
    one(
        "the-compilation-counts-for-the-time-left",
        "tests/test_parts.py -k goes_on",
        "progress.py",
        "begin = self._first if made > 1 else self._begin",
        "begin = self._begin",
    ),
    # --- files in the making, resuming, signals
    one(
        "a-frame-half-written-stays",
        "tests/test_output.py -k whatever",
        "files/output.py",
        "                os.ftruncate(self.descriptor, self.size)\n            raise",
        "                pass\n            raise",
    ),
    one(
        "what-was-written-is-not-read-back",
        "tests/test_output.py -k whatever",
        "files/output.py",
        "if os.pread(self.descriptor, len(data), self.size) != data:",
        "if False:",
    ),
    one(
        "a-file-of-somebody-else-is-written-to",
        "tests/test_output.py -k goes_away",
        "files/output.py",
        "        if not self._is_there():\n            raise",
        "        if False:\n            raise",
    ),
    one(
        "a-small-file-in-the-making-is-hidden",
        "tests/test_output.py -k known_name",
        "files/output.py",
        "    part = part_name(path)\n    try:\n        with _alone",
        '    part = path.with_name(f".{path.name}")\n    try:\n        with _alone',
    ),
    one(
        "what-a-killed-process-has-left-is-lost",
        "tests/test_output.py -k known_name",
        "files/output.py",
        "            elif os.fstat(descriptor).st_size and not over:\n                backup(part)\n",
        "",
    ),
    one(
        "two-processes-write-one-small-file",
        "tests/test_output.py -k another_process_does_not_finish",
        "files/output.py",
        "if lock_open(descriptor) is False or not is_same(part, descriptor):",
        "if False:",
    ),
    one(
        "a-lock-stays-where-the-disk-is-full",
        "tests/test_output.py -k full_disk",
        "files/locks.py",
        "        lock.unlink()\n        raise",
        "        raise",
    ),
    one(
        "streams-that-are-closed-stay-so",
        "tests/test_start_up.py -k streams",
        "cli.py",
        "        if getattr(sys, name) is None:",
        "        if False:",
    ),
    one(
        "a-reader-that-has-gone-is-an-error",
        "tests/test_start_up.py -k reader",
        "cli.py",
        "            signal.raise_signal(signal.SIGPIPE)",
        "            pass",
    ),
    one(
        "a-help-that-nobody-reads-ends-well",
        "tests/test_start_up.py -k reader",
        "cli.py",
        '        print(self.format_help(), end="", file=file, flush=True)',
        "        super().print_help(file)",
    ),
    one(
        "a-topology-that-is-cut-off-is-taken",
        "tests/test_damaged.py -k cut_off",
        "files/top.py",
        "    if counted and not molecules:",
        "    if False:",
    ),
    one(
        "descriptions-of-parts-are-believed",
        "tests/test_parts.py -k description",
        "files/join.py",
        "    if wrong:\n        text",
        "    if False:\n        text",
    ),
    one(
        "atoms-are-relaxed-before-their-file-is-looked-at",
        "tests/test_damaged.py -k outputs",
        "gromacs/relax.py",
        "    check_suffix(output)\n",
        "",
    ),
    one(
        "numbers-that-no-run-has-pass",
        "tests/test_mdp.py -k what_is_refused",
        "files/mdp.py",
        "    if not LEAST <= value <= MOST:",
        "    if False:",
    ),
    one(
        "a-held-lock-is-taken",
        "tests/test_output.py -k second_run",
        "files/locks.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
    ),
    one(
        "digests-of-frames-are-not-compared",
        "tests/test_resume.py -k believed",
        "files/record.py",
        "and blake2b(data, digest_size=16).hexdigest() == digest",
        "",
    ),
    one(
        "a-changed-input-is-not-noticed",
        "tests/test_resume.py -k something_else",
        "files/record.py",
        "if name in was and digest != was[name]:",
        "if False:",
    ),
    one(
        "what-an-ended-run-has-counted-is-forgotten",
        "tests/test_resume.py -k killed_goes_on",
        "backmapping/summary.py",
        "        self._add(found.report)\n",
        "",
    ),
    one(
        "frames-of-the-wrong-number-are-made-again",
        "tests/test_resume.py -k killed_goes_on",
        "backmapping/backmap.py",
        "passed = deque(islice(frames, done), ",
        "passed = deque(islice(iter(beads), done), ",
    ),
    one(
        "all-atoms-that-are-there-are-read-again",
        "tests/test_follow.py -k goes_on",
        "backmapping/backmap.py",
        "path, start = writing.record.parts[sample].part, ends[sample][sample]",
        "path, start = writing.record.parts[sample].part, 0",
    ),
    one(
        "options-that-do-nothing-are-let-pass",
        "tests/test_idle.py",
        "commands/idle.py",
        "        if options.command not in idle.commands or not idle.case(options):",
        "        if True:",
    ),
    one(
        "run-parameters-that-are-no-numbers-reach-gromacs",
        "tests/test_relax.py -k numbers",
        "gromacs/run_parameters.py",
        "    check_numbers(own)\n",
        "",
    ),
    one(
        "ctrl-c-reaches-workers-that-are-loaded",
        "tests/test_cluster.py -k reaches_no_worker",
        "cluster.py",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})",
        "signal.pthread_sigmask(signal.SIG_BLOCK, set())",
    ),
    one(
        "workers-run-the-script-of-the-user",
        "tests/test_cluster.py -k run_once",
        "cluster.py",
        """known.pop("__file__", None)""",
        "pass",
    ),
    one(
        "a-damaged-scheduler-file-is-believed",
        "tests/test_cluster.py -k nobody",
        "cluster.py",
        """if isinstance(address, str) and "://" in address:""",
        "if True:",
    ),
    one(
        "an-option-given-again-replaces-the-first",
        "tests/test_cli.py -k again_adds_up",
        "cli.py",
        "before is not self.default:",
        "False:",
    ),
    one(
        "ctrl-c-while-loading-is-a-traceback",
        "tests/test_interrupts.py -k loaded",
        "__main__.py",
        "if signal.getsignal(signal.SIGINT) is signal.default_int_handler:",
        "if False:",
    ),
    one(
        "no-thread-waits-for-signals",
        "tests/test_interrupts.py -k wherever",
        "interrupts.py",
        "if came[0] in numbers and not ended.wait(_grace[0]):",
        "if False:",
    ),
    one(
        "the-model-is-written-in-place",
        "tests/test_train.py -k whole_files",
        "network/model.py",
        "part.write_bytes(sealed(content.getvalue()))",
        "Path(path).write_bytes(sealed(content.getvalue()))",
    ),
    # --- chemistry
    one(
        "spread-forces-lose-the-torque",
        "tests/test_virtual_sites.py",
        "chemistry/virtual_sites.py",
        "on_k = _plus(_times(b, f), c, cross(f, ij))",
        "on_k = _times(b, f)",
    ),
    one(
        "forces-on-sites-of-sites-are-lost",
        "tests/test_virtual_sites.py -k of_sites",
        "chemistry/virtual_sites.py",
        "range(len(sites.virtual) - 1, -1, -1)",
        "range(len(sites.virtual))",
    ),
    one(
        "sites-stay-behind-in-small-moves",
        "tests/test_virtual_sites.py",
        "sampling/sweep.py",
        "        place_built(positions, arrays, at.first_atom, move)\n        tried[0]",
        "        tried[0]",
    ),
    one(
        "pairs-of-sites-with-the-axis-are-forgotten",
        "tests/test_virtual_sites.py",
        "sampling/arrays.py",
        " | np.isin(move.atoms, built)[:, None]",
        "",
    ),
    one(
        "sites-pull-at-nothing-in-packing",
        "tests/test_virtual_sites.py",
        "sampling/packing.py",
        "                spread_site(motion.positions, arrays, v, first, motion.force)",
        "                motion.force[first + arrays.virtual[v]] = 0.0",
    ),
    one(
        "windows-leave-sites-where-they-were",
        "tests/test_virtual_sites.py tests/test_window_annealing.py",
        "sampling/window_annealing.py",
        "        place_sites(x, window.virtual)\n",
        "",
    ),
    one(
        "exclusions-one-bond-short",
        "tests/test_top.py tests/test_environment.py tests/test_energy.py tests/test_hamiltonian.py",
        "chemistry/topology.py",
        "pairs_within(moltype, moltype.nrexcl)",
        "pairs_within(moltype, moltype.nrexcl - 1)",
    ),
    one(
        "deuterium-is-no-hydrogen",
        "tests/test_constraints.py",
        "chemistry/topology.py",
        'e in ("H", "D")',
        'e in ("H",)',
    ),
    one(
        "every-bond-can-be-fixed",
        "tests/test_constraints.py",
        "chemistry/interactions.py",
        'return terms.directive == "bonds" and INTERACTIONS["bonds"][terms.function].convertible',
        'return terms.directive == "bonds"',
    ),
    one(
        "h-bonds-by-element",
        "tests/test_constraints.py",
        "forcefield/constraints.py",
        "chosen = np.asarray(named_h(moltype)[pairs].any(axis=1))",
        "chosen = np.asarray(hydrogens(moltype)[pairs].any(axis=1))",
    ),
    one(
        "swapped-names-pass-with-others",
        "tests/test_names.py",
        "chemistry/names.py",
        "circles = [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1]",
        "circles: list[set[str]] = []",
    ),
    one(
        "renamed-atoms-are-another-order",
        "tests/test_names.py",
        "chemistry/names.py",
        "nx.strongly_connected_components(graph)",
        "nx.weakly_connected_components(graph)",
    ),
    one(
        "names-of-trajectories-are-not-looked-at",
        "tests/test_names.py",
        "files/system.py",
        '        order = compare_names(cg, path, "beads", reorder=self.inputs.reorder)\n',
        "        order = None\n",
    ),
    one(
        "a-type-twice-overrides",
        "tests/test_top.py",
        "files/forcefield.py",
        "    if known.parameters != [parameters]:\n",
        "    if False:\n",
    ),
    one(
        "molecules-around-the-box-pass",
        "tests/test_frame.py",
        "chemistry/periodic.py",
        "    closing = (parent[i] != j) & (parent[j] != i)\n",
        "    closing = np.zeros(len(i), bool)\n",
    ),
    one(
        "includes-beside-our-files",
        "tests/test_workdir.py",
        "files/includes.py",
        "    wanted = INCLUDED / wanted\n",
        "",
    ),
    one(
        "run.sh-without-quotes",
        "tests/test_workdir.py",
        "gromacs/workdir.py",
        'folder / "run.sh", shlex.quote(_program(settings.gmx))',
        'folder / "run.sh", _program(settings.gmx)',
    ),
    one(
        "comments-of-several-lines",
        "tests/test_evaluate.py -k scripts",
        "evaluation/worst.py",
        'c if c.isprintable() else " " for c in text',
        "c for c in text",
    ),
    one(
        "axis-of-dihedrals-cut-anywhere",
        "tests/test_evaluate.py -k not_cut",
        "evaluation/figures.py",
        "cut = next((c for c in CUTS if at(c) < NOTHING), min(CUTS, key=at))",
        "cut = CUTS[0]",
    ),
    one(
        "energies-off-and-safe",
        "tests/test_evaluate.py -k good_for",
        "evaluation/advice.py",
        "RELAX if broken or off else SAFE",
        "RELAX if broken else SAFE",
    ),
    one(
        "beads-where-they-are-in-the-file",
        "tests/test_view.py -k image",
        "evaluation/overlay.py",
        "points = beads.positions[found.i] - found.shift()",
        "points = beads.positions[found.i]",
    ),
    one(
        "cell-not-reduced",
        "tests/test_frame.py",
        "chemistry/periodic.py",
        "    cell = reduced_cell(box)\n    flat =",
        "    cell = np.asarray(box, np.float64)\n    flat =",
    ),
    one(
        "molecules-left-broken",
        "tests/test_frame.py tests/test_forward.py",
        "chemistry/periodic.py",
        "moved = moved + moved[:, parent]",
        "moved = 1 * moved",
    ),
    one(
        "owners-ties-to-the-last-bead",
        "tests/test_mapping.py",
        "chemistry/mapping.py",
        "if part > best[atom] * (1 + TIE):",
        "if part >= best[atom]:",
    ),
    one(
        "owners-spread-to-the-last-bead",
        "tests/test_mapping.py",
        "chemistry/mapping.py",
        "offers[j] = min(offers",
        "offers[j] = max(offers",
    ),
    one(
        "chirality-of-impropers-without-their-angle",
        "tests/test_quality.py",
        "chemistry/stereo.py",
        "np.sign(angle * parity)",
        "np.sign(parity)",
    ),
    one(
        "ions-keep-water-away",
        "tests/test_quality.py -k limit_of_its_atoms",
        "chemistry/contacts.py",
        "        [0.18, 0.25, 0.14, 0.22, 0.18, 0.0],\n",
        "        [0.18, 0.25, 0.14, 0.22, 0.22, 0.0],\n",
    ),
    one(
        "contacts-half-as-close",
        "tests/test_quality.py",
        "chemistry/contacts.py",
        "np.flatnonzero(distances < limits)",
        "np.flatnonzero(2 * distances < limits)",
    ),
    one(
        "python-writes-over-what-it-reads",
        "tests/test_python.py",
        "files/output.py",
        "if any(_same_file(output, other) for other in read):",
        "if any(False for other in read):",
    ),
    one(
        "files-of-a-universe-are-its-topology-alone",
        "tests/test_python.py",
        "backmapping/universe.py",
        """*getattr(read, "filenames", ())]""",
        "]",
    ),
    # --- energies compared, and the classifier
    one(
        "energies-paired-as-if-they-were-not",
        "tests/test_equilibrium.py",
        "forcefield/equilibrium.py",
        "_standard_error(one - other), len(one) - 1.0",
        "np.hypot(_standard_error(one), _standard_error(other)), len(one) - 1.0",
    ),
    one(
        "few-samples-say-the-error-as-well-as-many",
        "tests/test_equilibrium.py",
        "forcefield/equilibrium.py",
        "-stdtrit(self.degrees, ",
        "-stdtrit(1e9, ",
    ),
    one(
        "fixed-bonds-have-an-energy",
        "tests/test_equilibrium.py",
        "forcefield/constraints.py",
        "terms = [without_bonds(t, fixed) for t in moltype.terms]",
        "terms = list(moltype.terms)",
    ),
    one(
        "classifier-judges-frames-it-has-seen",
        "tests/test_two_samples.py",
        "evaluation/classifier.py",
        "np.concatenate(part[:k] + part[k + 1 :])",
        "np.concatenate(part)",
    ),
    one(
        "classifier-is-given-columns-without-a-number",
        "tests/test_two_samples.py",
        "evaluation/classifier.py",
        "columns = _columns(rows)",
        "columns = _columns(_labelled(sets, [np.arange(len(frames)) for frames in sets]))",
    ),
    one(
        "neighbours-in-the-same-chain-are-no-others",
        "tests/test_two_samples.py",
        "evaluation/environments.py",
        "nrexcl=APART",
        "nrexcl=APART - 1",
    ),
    one(
        "classifier-sees-fixed-bonds",
        "tests/test_two_samples.py",
        "evaluation/environments.py",
        "if frozenset((i, j)) not in held]",
        "]",
    ),
    one(
        "reconstruction-for-comparison-is-the-first",
        "tests/test_converged.py",
        "backmapping/independent.py",
        "(beads, sample=sample)",
        "(beads)",
    ),
    one(
        "frames-in-doubt-are-looked-at-once",
        "tests/test_preparation.py",
        "backmapping/independent.py",
        "if not against.sums_beyond(tolerance, looks=1):",
        "if True:",
    ),
    one(
        "second-look-at-the-same-atoms",
        "tests/test_preparation.py",
        "backmapping/independent.py",
        "replace(atoms, positions=again(SAMPLE + 1))",
        "atoms",
    ),
    one(
        "frame-in-full-is-recalled-for-the-second-look",
        "tests/test_memory.py",
        "backmapping/rebuilder.py",
        "partial(replace(sampler, recollection=None), one.beads)",
        "partial(sampler, one.beads)",
    ),
    one(
        "only-the-total-counts",
        "tests/test_converged.py",
        "backmapping/converged.py",
        "return not self.off",
        "return TOTAL not in self.off",
    ),
    # --- files
    one(
        "weights-without-masses",
        "tests/test_mapping.py",
        "files/dbm_map.py",
        "entries = (masses / total[owner],",
        "entries = (1 / np.bincount(owner)[owner],",
    ),
    one(
        "sigma-epsilon-without-the-four",
        "tests/test_top.py",
        "files/forcefield.py",
        "4 * w * v**12",
        "w * v**12",
    ),
    one(
        "an-older-output-is-overwritten",
        "tests/test_backmap.py tests/test_trajectory.py -k backed",
        "files/output.py",
        "            backup(path)\n",
        "",
    ),
    one(
        "damage-after-the-last-frame-that-is-asked-for-ends-a-run",
        "tests/test_trajectory.py -k cut_off",
        "files/trajectory.py",
        "            if is_last:",
        "            if False:",
    ),
    one(
        "last-frame-lost-by-rounding",
        "tests/test_trajectory.py",
        "files/trajectory.py",
        "time > end + slack",
        "frame.time > end - slack",
    ),
    one(
        "temperature-of-the-mdp-ignored",
        "tests/test_mdp.py tests/test_cli.py",
        "files/mdp.py",
        "temperature=mdp_temperature(entries), ",
        "",
    ),
    one(
        "pairs-of-two-blocks-are-shared-out",
        "tests/test_equilibrium.py",
        "forcefield/block_energies.py",
        "both.sum(axis=1) % 2 == 0",
        "pairs.sum(axis=1) % 2 == 0",
    ),
    one(
        "what-a-memory-knows-is-tried-again",
        "tests/test_preparation.py -k known",
        "sampling/preparation.py",
        "before = known(chosen)",
        "before = None",
    ),
    one(
        "memories-that-ship-serve-any-temperature",
        "tests/test_memory_file.py -k ship",
        "sampling/memory_file.py",
        "if not differences(kept.origin, replace(now, molecules=here)):",
        "if here:",
    ),
    # --- force field
    one(
        "reaction-field-of-the-wrong-sign",
        "tests/test_energy.py tests/test_hamiltonian.py",
        "forcefield/nonbonded.py",
        "(beyond.c0 + r2 * (beyond.c2",
        "(beyond.c0 - r2 * (beyond.c2",
    ),
    one(
        "zero-quadrupole-without-its-last-term",
        "tests/test_forces.py tests/test_lattice.py",
        "forcefield/nonbonded.py",
        "1.25 / cutoff**3, -0.375 / cutoff**5",
        "1.25 / cutoff**3, 0.0",
    ),
    one(
        "force-switched-too-late",
        "tests/test_hamiltonian.py",
        "forcefield/nonbonded.py",
        "t = max(np.sqrt(r2) - tail.start, ZERO)",
        "t = max(np.sqrt(r2) - tail.start - np.float32(0.01), ZERO)",
    ),
    one(
        "lattice-energy-without-the-charges-themselves",
        "tests/test_lattice.py",
        "forcefield/lattice.py",
        "charges @ charges * (form.beyond.c0 / 2 + alpha / math.sqrt(math.pi))",
        "0.0",
    ),
    one(
        "lennard-jones-force-not-its-energys",
        "tests/test_forces.py tests/test_surroundings.py",
        "forcefield/nonbonded.py",
        "SIX * r2 * r2 * i6 * i6 * (TWO * c12 * i6 - c6)",
        "SIX * r2 * r2 * i6 * i6 * (c12 * i6 - c6)",
    ),
    one(
        "pairs-of-two-that-move-count-twice",
        "tests/test_forces.py tests/test_surroundings.py",
        "sampling/surroundings.py",
        "(own.still, len(own.column), 0.5)",
        "(own.still, len(own.column), 1.0)",
    ),
    one(
        "two-samples-that-agree-convict",
        "tests/test_equilibrium.py",
        "forcefield/equilibrium.py",
        "np.maximum(found, known)",
        "found",
    ),
    one(
        "recalled-frames-are-offered-nothing",
        "tests/test_memory.py",
        "sampling/sampler.py",
        "offer(sampler, conf, beads, range(how.offers), stream)",
        "pass",
    ),
    one(
        "centres-all-held-alike",
        "tests/test_relax.py",
        "gromacs/relax.py",
        "return atoms.widths[name]",
        "return np.full_like(atoms.widths[name], atoms.widths[name].max())",
    ),
    one(
        "charges-of-1-4-pairs-not-scaled",
        "tests/test_energy.py tests/test_hamiltonian.py",
        "forcefield/terms.py",
        "else fudge_qq * charges",
        "else charges",
    ),
    one(
        "improper-the-long-way-round",
        "tests/test_energy.py tests/test_hamiltonian.py",
        "forcefield/forms.py",
        "    return angle - 2.0 * math.pi * math.floor(angle / (2.0 * math.pi) + 0.5)\n",
        "    return angle\n",
    ),
    one(
        "cis-for-trans",
        "tests/test_energy.py tests/test_hamiltonian.py tests/test_sweep.py",
        "forcefield/forms.py",
        "c = -cosine / norm",
        "c = cosine / norm",
    ),
    one(
        "phase-of-dihedrals-of-the-wrong-sign",
        "tests/test_forces.py tests/test_hamiltonian.py -k multiplicity",
        "forcefield/terms.py",
        "np.cos(phase), np.sin(phase))",
        "np.cos(phase), -np.sin(phase))",
    ),
    one(
        "correction-map-begins-at-0",
        "tests/test_energy.py tests/test_twins.py",
        "forcefield/energy.py",
        "places = [(x + math.pi) * n",
        "places = [x * n",
    ),
    one(
        "correction-map-transposed-for-the-sampler",
        "tests/test_twins.py",
        "forcefield/terms.py",
        "found = grid_energy(p, tables, math.atan2(sine, cosine), math.atan2(sine_on, cosine_on))",
        "found = grid_energy(p, tables, math.atan2(sine_on, cosine_on), math.atan2(sine, cosine))",
    ),
    one(
        "slopes-of-a-correction-map-swapped",
        "tests/test_forces.py -k bonded",
        "forcefield/terms.py",
        "add_torque((i, j, k, m), (a, b, c), scale * found[1], force)",
        "add_torque((i, j, k, m), (a, b, c), scale * found[2], force)",
    ),
    one(
        "tables-of-all-molecules-begin-at-0",
        "tests/test_functions.py -k two_molecules",
        "forcefield/terms.py",
        "    parameters[np.isin(terms.form, TABLED), 0] += by\n",
        "",
    ),
    one(
        "ends-of-opened-rings-turned",
        "tests/test_moves.py -k bonds_keep",
        "sampling/moves.py",
        "if fragment.parent < 0 or fragment.in_ring:",
        "if fragment.parent < 0:",
    ),
    one(
        "opened-bonds-forgotten",
        "tests/test_moves.py -k opened",
        "chemistry/fragments.py",
        "    graph.add_edges_from((k, other) for k, f in enumerate(fragments) for other in f.closings)\n",
        "",
    ),
    one(
        "large-rings-are-rigid",
        "tests/test_moves.py -k large_rings",
        "chemistry/fragments.py",
        "if in_small_ring(graph, *edge))",
        "if True)",
    ),
    one(
        "amino-acids-are-right-handed",
        "tests/test_large_rings.py -k amino",
        "chemistry/amino_acids.py",
        "mirrored = _residue(moltype, alpha) in RIGHT_HANDED",
        "mirrored = _residue(moltype, alpha) not in RIGHT_HANDED",
    ),
    one(
        "cages-lie-on-their-beads-as-they-fell",
        "tests/test_growth.py -k cage",
        "sampling/growth.py",
        "if footing is not None:",
        "if footing is not None and footing.beads is None:",
    ),
    one(
        "a-far-better-conformer-is-no-choice",
        "tests/test_conformer_exchange.py -k far_better",
        "sampling/conformer_exchange.py",
        "choice.tried[:, 1:].any(axis=1)",
        "choice.tried.sum(axis=1) > 1",
    ),
    one(
        "thiocarbamates-are-usually-trans",
        "tests/test_stereo_bonds.py -k from_the_graph",
        "chemistry/stereo_bonds.py",
        " and not _is_mixed(atoms, carbon, other)",
        "",
    ),
    one(
        "long-steps-are-waited-for",
        "tests/test_train.py -k given_up",
        "train/monitor.py",
        "        self.waits = not wanted\n",
        "        self.waits = True\n",
    ),
    one(
        "half-a-step-stays",
        "tests/test_train.py -k given_up",
        "train/checkpoint.py",
        "        restore(state, saved, rng)\n        for",
        "        for",
    ),
    one(
        "scores-given-up-are-never-made",
        "tests/test_train.py -k given_up",
        "train/checkpoint.py",
        "            setattr(progress, name, value)\n",
        "            setattr(state, name, getattr(state, name, value))\n",
    ),
    one(
        "cages-annealed-hot",
        "tests/test_growth.py -k searches",
        "sampling/evidence.py",
        "enumerate(GENTLE)",
        "enumerate((GROWTH, GROWTH))",
    ),
    one(
        "other-centres-of-a-cage-left-to-chance",
        "tests/test_growth.py -k searches",
        "sampling/evidence.py",
        "[:OTHERS]",
        "[:0]",
    ),
    one(
        "what-a-stereoisomer-costs-is-evidence",
        "tests/test_growth.py -k without_beads",
        "sampling/evidence.py",
        "one.energy - made",
        "one.energy",
    ),
    one(
        "cages-in-one-mirror-image",
        "tests/test_growth.py -k bicyclic",
        "sampling/conformers.py",
        "-1 if cage and number % 2 else 1",
        "1",
    ),
    one(
        "conformers-kept-for-any-seed",
        "tests/test_large_rings.py -k kept",
        "sampling/conformers.py",
        "self.kt, self.count, self.stream.path))",
        "self.kt, self.count))",
    ),
    one(
        "molecules-that-are-held-turned-with-an-end",
        "tests/test_functions.py -k distance",
        "sampling/moves.py",
        "above = np.setdiff1d(part, branch(fragments, number))",
        "above = np.setdiff1d(np.arange(len(part_of)), branch(fragments, number))",
    ),
    one(
        "interactions-between-molecules-are-constraints",
        "tests/test_functions.py -k joined",
        "forcefield/constraints.py",
        '.get("kind") != HELD for p in pairs], bool)',
        '.get("kind") != 0 for p in pairs], bool)',
    ),
    one(
        "shares-of-constraints-swapped",
        "tests/test_constraints.py",
        "forcefield/constraints.py",
        "share = mass[j] / (mass[i] + mass[j])",
        "share = mass[i] / (mass[i] + mass[j])",
    ),
    one(
        "temperature-ignored",
        f"{STAGES} {DEFAULT} tests/test_sweep.py",
        "forcefield/hamiltonian.py",
        "return GAS * self.conditions.temperature",
        "return GAS * 300.0",
    ),
    one(
        "permittivity-ignored",
        "tests/test_hamiltonian.py",
        "forcefield/hamiltonian.py",
        "charges = moltype.charges * np.sqrt(ELECTRIC / conditions.epsilon_r)",
        "charges = moltype.charges * np.sqrt(ELECTRIC)",
    ),
    one(
        "chirality-restraint-of-the-wrong-sign",
        "tests/test_forces.py tests/test_growth.py",
        "forcefield/restraints.py",
        "TETRAHEDRAL - sign * volume",
        "TETRAHEDRAL + sign * volume",
    ),
    one(
        "barriers-of-the-first-dihedral-only",
        "tests/test_stereo_bonds.py -k add_up",
        "forcefield/torsions.py",
        "        for t in range(len(form)):\n",
        "        for t in range(1):\n",
    ),
    one(
        "acids-have-no-usual-state",
        "tests/test_stereo_bonds.py -k acids",
        "chemistry/stereo_bonds.py",
        "oxygen = _is_ester(atoms, carbon, other) or _is_acid(atoms, carbon, other)",
        "oxygen = _is_ester(atoms, carbon, other)",
    ),
    one(
        "groups-of-other-beads-are-exchanged",
        "tests/test_stereo_bonds.py -k exchanged",
        "chemistry/stereo.py",
        "{mapping.owner[i]} {sorted(shares[i])}",
        "",
    ),
    one(
        "mirror-images-are-one-molecule",
        "tests/test_stereo_bonds.py -k exchanged",
        "chemistry/stereo_bonds.py",
        "        if len(set(outside)) == 2:\n",
        "        if len(set(outside)) == 3:\n",
    ),
    one(
        "bonds-to-alike-groups-are-undecided",
        "tests/test_stereo_bonds.py -k undecided",
        "backmapping/chirality.py",
        "nominal_elements(m.moltype, m.mapping)",
        "nominal_elements(m.moltype)",
    ),
    one(
        "azides-are-cis-or-trans",
        "tests/test_stereo_bonds.py -k from_the_graph",
        "chemistry/stereo_bonds.py",
        " and not _straight(atoms, i)",
        "",
    ),
    one(
        "penicillins-are-left-handed",
        "tests/test_large_rings.py -k all_of_carbon",
        "chemistry/amino_acids.py",
        'return any(moltype.elements[i] != "C" for i in ways.get(beta, [])[1:])',
        "return False",
    ),
    one(
        "every-unusual-amide-is-taken-for-chance",
        "tests/test_unusual.py",
        "evaluation/unusual.py",
        "RARE = 0.01",
        "RARE = 0.0",
    ),
    one(
        "no-unusual-amide-is-taken-for-chance",
        "tests/test_unusual.py",
        "evaluation/unusual.py",
        "RARE = 0.01",
        "RARE = 1.0",
    ),
    one(
        "what-is-known-may-be-unusual-too",
        "tests/test_unusual.py",
        "evaluation/unusual.py",
        "judged = unknown & are_bonds(elements)",
        "judged = np.ones_like(unknown) & are_bonds(elements)",
    ),
    one(
        "carbamates-prefer-as-amides-do",
        "tests/test_unusual.py",
        "chemistry/stereo_bonds.py",
        "return 5.0 if weak else 20.0",
        "return 20.0",
    ),
    one(
        "virtual-sites-of-tryptophan-have-no-atoms",
        "tests/test_shipped.py -k tryptophan",
        "files/shipped.py",
        "if here or name in known)",
        "if here)",
    ),
    one(
        "stereo-of-several-residues-is-that-of-the-first",
        "tests/test_shipped.py -k three_residues",
        "chemistry/residues.py",
        "return (int(part) - 1, name) if part.isdecimal() else (0, text)",
        "return (0, name)",
    ),
    one(
        "pairs-nb-with-the-factor-of-the-defaults",
        "tests/test_energy.py -k pairs_nb",
        "files/top.py",
        'texts=["1", *texts]',
        'texts=["0.5", *texts]',
    ),
    one(
        "mappings-without-a-name-fit-what-lacks-atoms",
        "tests/test_residue_mappings.py -k without_a_name",
        "chemistry/residues.py",
        "if alias != NAMELESS or not place.missing",
        "if True",
    ),
    one(
        "mappings-without-a-name-are-not-told-apart-by-their-file",
        "tests/test_residue_mappings.py -k without_a_name",
        "chemistry/residues.py",
        "return *place.quality, votes + _called(place.mapping, name)",
        "return *place.quality, votes",
    ),
    one(
        "elements-of-a-tpr-by-number-only",
        "tests/test_tpr.py -k elements",
        "files/tpr.py",
        "element_of(atom.atomnumber, mass, names=(name, type_name))",
        "element_of(atom.atomnumber, mass)",
    ),
    one(
        "usual-state-of-amides-the-other-way-round",
        "tests/test_stereo_bonds.py -k graph",
        "chemistry/stereo_bonds.py",
        "return 1 if near == _carbonyl(atoms, carbon) else -1",
        "return -1 if near == _carbonyl(atoms, carbon) else 1",
    ),
    one(
        "restraint-of-bonds-of-the-wrong-sign",
        "tests/test_forces.py tests/test_stereo_bonds.py",
        "forcefield/restraints.py",
        "    slope = sign * COSINE\n",
        "    slope = -sign * COSINE\n",
    ),
    one(
        "sweeps-turn-double-bonds-over",
        "tests/test_stereo_bonds.py -k isomer",
        "sampling/updates.py",
        "        states = 2 * states + (1 if cosine > 0.0 else 0)\n",
        "        states = 2 * states + (1 if cosine > -2.0 else 0)\n",
    ),
    one(
        "turned-bonds-are-no-fault",
        "tests/test_stereo_bonds.py -k counts",
        "chemistry/rules.py",
        '        "turned": wrong[are_bonds(wrong), 1:3],\n',
        '        "turned": wrong[:0, 1:3],\n',
    ),
    one(
        "force-of-beads-without-their-weights",
        "tests/test_forces.py",
        "forcefield/restraints.py",
        "pull = -stiffness * sites.weight[q]",
        "pull = -stiffness",
    ),
    # --- sampling
    one(
        "wrong-chirality-costs-nothing",
        "tests/test_growth.py -k strain",
        "sampling/growth.py",
        "WRONG = 1e6",
        "WRONG = 0.0",
    ),
    Mutation(
        "packing-exchange-and-last-projection-left-out",
        (STAGES,),
        (
            (
                "sampling/sampler.py",
                "        _exchange_all(sampler, conf, grown, stream)\n",
                "",
            ),
            (
                "sampling/sampler.py",
                "    pack(conf, held, schedule, one, sampler.team)\n",
                "",
            ),
            (
                "sampling/sampler.py",
                "    positions = chain.conf.positions\n"
                "    shake_all(positions, sampler.arrays.molecules, sampler.arrays.bonds, "
                "chain.conf.lattice)\n",
                "    positions = chain.conf.positions\n",
            ),
        ),
    ),
    one(
        "windows-are-tried-only-where-annealing-gains",
        "tests/test_preparation.py -k gains_nothing",
        "sampling/preparation.py",
        "    elif thorough and ANNEALING in",
        "    elif thorough and chosen.effort.annealing and ANNEALING in",
    ),
    one(
        "few-windows-are-enough-where-one-frame-says-so",
        "tests/test_preparation.py -k caught",
        "sampling/preparation.py",
        "    return CAUGHT if caught else enough",
        "    return enough",
    ),
    one(
        "windows-follow-offers-for-nothing",
        "tests/test_preparation.py -k caught",
        "sampling/preparation.py",
        "caught |= effort.offers > 0 and not effort.breeds and enough > 0",
        "caught |= effort.offers > 0 and enough > 0",
    ),
    one(
        "few-windows-follow-offers",
        "tests/test_preparation.py -k caught",
        "sampling/preparation.py",
        "caught |= effort.offers > 0 and not effort.breeds and enough > 0",
        "caught |= False",
    ),
    one(
        "arrays-are-lost-in-silence",
        "tests/test_compiled.py -k without_saying",
        "compiled.py",
        "if not state.flags.nrt and _gets_arrays(state):",
        "if False:",
    ),
    one(
        "periodic-chains-of-two-beads-are-rings",
        "tests/test_rules.py -k periodic",
        "chemistry/winding.py",
        "        found |= bool(both.any())\n",
        "",
    ),
    one(
        "weak-terms-act-in-full",
        "tests/test_forces.py -k packing",
        "forcefield/terms.py",
        "share = 1.0 if one == DISTANCE else weak",
        "share = 1.0",
    ),
    one(
        "groups-of-terms-end-early",
        "tests/test_forces.py -k one_by_one",
        "forcefield/terms.py",
        "        begin = stop\n",
        "        begin = stop + (stop - begin == lanes.LANES)\n",
    ),
    one(
        "harmonic-dihedrals-side-by-side-have-no-sign",
        "tests/test_forces.py -k one_by_one",
        "forcefield/lanes.py",
        "math.copysign(arc(abs(sine), cosine), sine)",
        "arc(abs(sine), cosine)",
    ),
    one(
        "obtuse-angles-are-acute",
        "tests/test_forces.py -k arc",
        "forcefield/lanes.py",
        "math.pi - angle if cosine < 0.0 else angle",
        "angle",
    ),
    one(
        "annealing-without-heat-and-weakness",
        "tests/test_preparation.py -k turns",
        "sampling/packing.py",
        "HOT, WEAK = 2.0, 0.3",
        "HOT, WEAK = 1.0, 1.0",
    ),
    one(
        "strained-beads-stay-narrow",
        "tests/test_preparation.py -k loosely",
        "sampling/preparation.py",
        "STRAINED, NO_CHANCE = 1.3",
        "STRAINED, NO_CHANCE = 1e9",
    ),
    one(
        "beads-loosened-by-chance",
        "tests/test_preparation.py -k by_chance",
        "sampling/preparation.py",
        "NO_CHANCE = 1.3, 3.0",
        "NO_CHANCE = 1.3, 0.0",
    ),
    one(
        "a-gain-by-annealing-is-overlooked",
        "tests/test_preparation.py -k enough",
        "sampling/preparation.py",
        "value - min(following) < gain * tolerance",
        "value - following[0] < gain * tolerance",
    ),
    one(
        "heat-of-a-window-is-not-taken-off-its-work",
        WINDOWS,
        "sampling/window_annealing.py",
        "                work -= _kinetic(window)",
        "                work -= 0.0",
    ),
    one(
        "memory-recalls-the-frame-itself",
        MEMORY,
        "sampling/memory.py",
        "known.frame != wanted.frame",
        "known.frame != -5",
    ),
    one(
        "mirror-images-keep-their-hand",
        MEMORY,
        "sampling/memory.py",
        "np.where(asked.bonds, known.states, -known.states)",
        "known.states",
    ),
    one(
        "recalled-beads-do-not-see-their-neighbours",
        MEMORY,
        "sampling/memory.py",
        "_drawn(odds[k] + bound[k][rows, chosen[parent]], rng)",
        "_drawn(odds[k], rng)",
    ),
    one(
        "memory-used-whatever-it-is-worth",
        MEMORY,
        "sampling/recollection.py",
        "        if excess < enough and np.isfinite(misfit):\n",
        "        if True:\n",
    ),
    one(
        "independent-starts-recall",
        MEMORY,
        "backmapping/independent.py",
        "effort=effort, recollection=None)",
        "effort=effort)",
    ),
    one(
        "memory-file-recalls-the-old-sample",
        KEPT,
        "sampling/memory.py",
        "off = np.where(_are_same(known.beads[entry[near]], beads), np.inf, off)",
        "pass",
    ),
    one(
        "memory-file-of-another-case-is-believed",
        KEPT,
        "backmapping/memory.py",
        "if not differs and kept.findings is not None:",
        "if kept.findings is not None:",
    ),
    one(
        "digest-of-a-force-field-without-its-cut-offs",
        KEPT,
        "sampling/origin.py",
        "_digest([*cut, *_of_molecule(hamiltonian, molecule)])",
        "_digest(_of_molecule(hamiltonian, molecule))",
    ),
    one(
        "digest-of-a-force-field-at-its-temperature",
        KEPT,
        "sampling/origin.py",
        "make_hamiltonian(system, replace(conditions, temperature=AT))",
        "make_hamiltonian(system, conditions)",
    ),
    one(
        "windows-without-the-metric-of-their-bonds",
        WINDOWS,
        "sampling/window_annealing.py",
        " - 0.5 * (after - before)",
        "",
    ),
    one(
        "windows-turn-stereocentres-over",
        WINDOWS,
        "sampling/window_annealing.py",
        "    if arrived and right and inside(place, arrays, at, move):",
        "    if arrived and inside(place, arrays, at, move):",
    ),
    one(
        "windows-are-all-refused",
        WINDOWS,
        "sampling/window_annealing.py",
        "        accepted = drawn <",
        "        accepted = 2.0 + drawn <",
    ),
    one(
        "pairs-within-a-window-count-twice",
        WINDOWS,
        "sampling/arrays.py",
        "others, apart & loose)",
        "others, (apart | True) & loose)",
    ),
    one(
        "springs-of-fixed-bonds-are-looked-at",
        "tests/test_chain.py -k tracked",
        "sampling/chain.py",
        "chain.energies.append(chain.energy - _spring_energy(chain.conf))",
        "chain.energies.append(chain.energy)",
    ),
    one(
        "unlike-starts-are-converged",
        "tests/test_preparation.py -k unlike",
        "backmapping/summary.py",
        "return self._too_short or bool(off)",
        "return self._too_short",
    ),
    one(
        "torsions-that-are-caught-are-not-looked-at-alone",
        "tests/test_converged.py tests/test_equilibrium.py -k scatter",
        "forcefield/equilibrium.py",
        "for name in SUMS if",
        "for name in (TOTAL,) if",
    ),
    one(
        "exchange-without-energies",
        f"{STAGES} tests/test_conformer_exchange.py",
        "sampling/conformer_exchange.py",
        "_drawn(energy / kt, chance[copies])",
        "_drawn(np.where(energy < np.inf, 0.0, np.inf), chance[copies])",
    ),
    one(
        "some-molecules-stand-for-all-whatever-they-are",
        "tests/test_chirality.py -k stand",
        "sampling/chirality.py",
        "return found.odds.alike() > CERTAIN",
        "return True",
    ),
    one(
        "windows-that-choose-together-see-each-other",
        "tests/test_size.py",
        "sampling/colouring.py",
        "            taken[neighbours.near[q], free // WORD] |= bit\n",
        "            taken[bead, free // WORD] |= bit\n",
    ),
    one(
        "repeated-box-of-broken-molecules",
        "tests/test_cli.py -k repeated",
        "backmapping/benchmark.py",
        "frame.box, whole.positions",
        "frame.box, frame.positions",
    ),
    one(
        "samples-all-alike",
        "tests/test_sampler.py -k samples or stream",
        "sampling/sampler.py",
        "frame_stream(self.settings.seed, beads.index, sample)",
        "frame_stream(self.settings.seed, beads.index, 0)",
    ),
    one(
        "packing-and-sweeps-share-a-stream",
        "tests/test_random_numbers.py",
        "sampling/random_numbers.py",
        "    PACKING = 7\n",
        "    PACKING = 8\n",
    ),
    one(
        "runs-of-one-type-share-random-numbers",
        "tests/test_sampler.py -k runs",
        "sampling/sampler.py",
        "np.arange(match.count), match.first_atom, lattice_of(beads))\n        yield",
        "np.arange(match.count), 0, lattice_of(beads))\n        yield",
    ),
    one(
        "partners-are-seen-where-other-blocks-move-them",
        "tests/test_chain.py -k tracked",
        "sampling/views.py",
        "        seen = view.hidden[known] == SEEN or (view.hidden[known] == PARTNER and not home)\n",
        "        seen = view.hidden[known] != OWN\n",
    ),
    one(
        "what-a-block-did-not-see-stays-hidden",
        "tests/test_chain.py -k polystyrene",
        "sampling/views.py",
        "            _set(arrays, at, view, view.listed[known], at.first_atom "
        "+ arrays.known[first_known + known])\n",
        "            pass\n",
    ),
    one(
        "atoms-look-one-shell-too-near",
        "tests/test_chain.py -k tracked",
        "sampling/views.py",
        "    shell = int(math.sqrt(x * x + y * y + z * z) / THICK) + 1\n",
        "    shell = int(math.sqrt(x * x + y * y + z * z) / THICK)\n",
    ),
    one(
        "blocks-do-not-see-what-others-have-moved",
        "tests/test_chain.py -k tracked",
        "sampling/views.py",
        "            view.around[d, e] = place.positions[atom, d] + view.shift[e, d] - view.centre[d]\n",
        "            view.around[d, e] += place.beads[0, d] - place.beads[0, d]\n",
    ),
    one(
        "bonds-stay-soft-to-the-end",
        "tests/test_preparation.py -k ends",
        "sampling/packing.py",
        "LASTLY = Stretch(SETTLED, fine=True)",
        "LASTLY = Stretch(SETTLED)",
    ),
    one(
        "annealing-that-gains-by-chance",
        "tests/test_preparation.py -k twice",
        "sampling/preparation.py",
        "    return (energies, steps) if gains else (again, 0)\n",
        "    return energies, steps\n",
    ),
    one(
        "a-droplet-is-not-around-the-middle",
        "tests/test_droplet.py -k middle",
        "sampling/droplet.py",
        "    taken[order[before < atoms]] = True\n",
        "    taken[: int((before < atoms).sum())] = True\n",
    ),
    one(
        "windows-know-no-pairs",
        "tests/test_linear.py -k pairs",
        "sampling/windows.py",
        "arrays.free) if paired else NOTHING",
        "arrays.free) if False else NOTHING",
    ),
    one(
        "bonds-through-the-box-are-as-long-as-the-box",
        "tests/test_winding.py -k twice_the_length",
        "sampling/energy.py",
        "    total, tables, x = 0.0, arrays.tables, in_lattice(place.positions, place.lattice)\n",
        "    total, tables, x = 0.0, arrays.tables, place.positions\n",
    ),
    one(
        "parents-are-not-crossed",
        "tests/test_recombination.py -k parts_of_two",
        "sampling/recombination.py",
        "pool[each, other], pool[each, one])",
        "pool[each, one], pool[each, one])",
    ),
    one(
        "lost-conformers-are-never-replaced",
        "tests/test_recombination.py -k nobodys_way",
        "sampling/recombination.py",
        "np.nan_to_num(np.stack(energies, axis=1), nan=np.inf, posinf=np.inf)",
        "np.stack(energies, axis=1)",
    ),
    one(
        "what-is-crossed-is-not-kept",
        "tests/test_recombination.py -k in_its_states",
        "sampling/recombination.py",
        "        pool[each[taken], worst[taken]] = ",
        "        child.positions[taken][:, free] = ",
    ),
    one(
        "single-fragments-are-parts",
        "tests/test_recombination.py -k hang_together",
        "sampling/recombination.py",
        "if 2 <= len(piece) <= len(joined) - 2}",
        "if len(piece) < len(joined)}",
    ),
    one(
        "rings-have-no-parts",
        "tests/test_recombination.py -k hang_together",
        "sampling/recombination.py",
        "    if len(pieces) == 1:\n",
        "    if len(pieces) < 3:\n",
    ),
    one(
        "stretches-end-where-the-next-begins",
        "tests/test_recombination.py -k well_inside",
        "sampling/growth.py",
        "(k not in inside or k in edge)",
        "k not in inside",
    ),
    one(
        "stretches-of-what-branches-are-large",
        "tests/test_recombination.py -k branches",
        "sampling/growth.py",
        "reached[-1] if len(reached) <= WHOLE else reached[WHOLE] - 1)",
        "reached[-1])",
    ),
    one(
        "charges-within-a-window-are-not-screened",
        "tests/test_linear.py -k pairs_of_its_own",
        "sampling/windows.py",
        "inner[:, 2] /= SCREENED",
        "pass",
    ),
    one(
        "what-was-bred-is-forgotten",
        "tests/test_recombination.py -k bred_on",
        "sampling/sampler.py",
        "pools[here] = candidates.stored()",
        "pass",
    ),
    one(
        "what-was-bred-is-not-crossed-again",
        "tests/test_recombination.py -k bred_on",
        "sampling/recombination.py",
        "crossings = ON",
        "crossings = 0",
    ),
    one(
        "what-was-bred-is-grown-again",
        "tests/test_recombination.py -k bred_on",
        "sampling/recombination.py",
        "if before is None:",
        "if True:",
    ),
    one(
        "what-was-bred-stands-in-for-the-present-conformer",
        "tests/test_recombination.py -k bred_on",
        "sampling/recombination.py",
        "[copies.positions[:, group.arrays.free], *(found for",
        "[before.conformers[:, 0], *(found for",
    ),
    one(
        "conformers-are-bred-once",
        "tests/test_recombination.py -k windows_are_asked",
        "sampling/sampler.py",
        "if bred and number % ASKED == 0:",
        "if bred and number == 0:",
    ),
    one(
        "frames-choose-nothing-that-was-bred",
        "tests/test_recombination.py -k many_rounds",
        "sampling/sampler.py",
        "bred=self.effort.breeds)",
        "bred=False)",
    ),
    one(
        "all-molecules-are-bred-at-once",
        "tests/test_recombination.py -k after_the_others",
        "sampling/sampler.py",
        "min(len(rows), 1 + size // AT_ONCE)",
        "1",
    ),
    one(
        "trials-breed-nothing",
        "tests/test_recombination.py -k many_rounds",
        "sampling/preparation.py",
        "bred=Effort(rounds.stop).breeds)",
        "bred=False)",
    ),
    one(
        "what-is-bred-goes-on-from-what-is-not",
        "tests/test_offers.py -k twice_as_many",
        "sampling/preparation.py",
        "begun = done if Effort(done).breeds == Effort(rounds).breeds else 0",
        "begun = done",
    ),
    one(
        "offers-begin-anew-in-each-round",
        "tests/test_offers.py -k in_each_round",
        "sampling/sampler.py",
        "one = stream.of(Use.OFFERS, number)",
        "one = stream.of(Use.OFFERS, 0)",
    ),
    one(
        "all-windows-are-asked-in-all-rounds",
        "tests/test_offers.py -k in_each_round",
        "sampling/sampler.py",
        "None if number % ASKED == 0 or not choosy else choosy",
        "None",
    ),
    one(
        "windows-without-a-choice-are-never-asked-again",
        "tests/test_offers.py -k in_each_round",
        "sampling/sampler.py",
        "None if number % ASKED == 0 or not choosy else choosy",
        "None if not choosy else choosy",
    ),
    one(
        "last-neighbours-of-an-atom-are-lost",
        "tests/test_surroundings.py",
        "sampling/surroundings.py",
        "start[q] - (-count // VECTOR) * VECTOR",
        "start[q] + count // VECTOR * VECTOR",
    ),
    one(
        "present-conformers-are-lost-where-they-are-strained-alone",
        "tests/test_conformer_exchange.py -k around_it",
        "sampling/conformer_exchange.py",
        "    tried[:, 0] |= tried[:, 1:].any(axis=1)",
        "    tried[:, 0] |= False",
    ),
    one(
        "offers-know-no-pairs",
        "tests/test_linear.py -k pairs",
        "sampling/growth.py",
        "fragment_graph(self.fragments), WIDER, paired=True)",
        "fragment_graph(self.fragments), WIDER)",
    ),
    one(
        "a-first-round-of-offers-is-looked-at-once",
        "tests/test_offers.py -k twice_as_many",
        "sampling/preparation.py",
        "        if done == 0 and abs(gained - worth) < doubtful",
        "        if done < 0 and abs(gained - worth) < doubtful",
    ),
    one(
        "rounds-of-offers-are-those-that-were-enough",
        "tests/test_offers.py -k twice_as_many",
        "sampling/preparation.py",
        "    chosen = done if nothing_gained else rounds\n",
        "    chosen = done if gained < worth else rounds\n",
    ),
    one(
        "rounds-that-breed-are-twice-as-many-as-are-enough",
        "tests/test_offers.py -k twice_as_many",
        "sampling/preparation.py",
        "and (done == 0 or Effort(done).breeds)",
        "and done == 0",
    ),
    one(
        "few-rounds-are-enough-where-much-is-gained",
        "tests/test_offers.py -k twice_as_many",
        "sampling/preparation.py",
        "        if gained < worth and not (caught and rounds < CAUGHT_ROUNDS):\n",
        "        if gained < worth:\n",
    ),
    one(
        "what-is-bred-counts-as-a-doubling",
        "tests/test_offers.py -k would_gain",
        "sampling/preparation.py",
        "if Effort(n).breeds == self.effort.breeds}",
        "}",
    ),
    one(
        "what-is-left-after-offers-is-not-said",
        "tests/test_offers.py -k would_gain",
        "sampling/preparation.py",
        "        return offered if nothing_later and ",
        "        return offered if False and ",
    ),
    one(
        "independent-starts-are-offered-no-more",
        "tests/test_offers.py -k more_of_all",
        "backmapping/independent.py",
        "    rounds = max(offers, min(LONGER * offers, ROUNDS[-1]))\n",
        "    rounds = offers\n",
    ),
    one(
        "independent-starts-lose-what-offers-found",
        "tests/test_offers.py -k more_of_all",
        "backmapping/independent.py",
        "max(0 if offers else LEAST, ",
        "max(LEAST, ",
    ),
    one(
        "water-is-caught-in-its-places",
        "tests/test_preparation.py -k caught_in_its_places",
        "sampling/preparation.py",
        "    if conditions.spread is None and thorough:\n        freed",
        "    if False:\n        freed",
    ),
    one(
        "alcohols-are-caught-in-their-places",
        "tests/test_preparation.py -k few_beads",
        "sampling/preparation.py",
        "<= min(FREED_BEADS, molecules",
        "<= min(1, molecules",
    ),
    one(
        "molecules-are-freed-for-nothing",
        "tests/test_preparation.py -k stay_in_their_places",
        "sampling/preparation.py",
        "        if energy - freed < worth:\n",
        "        if False:\n",
    ),
    one(
        "recalled-frames-are-judged-by-bonds",
        "tests/test_memory.py -k bonds_and_angles_are_not",
        "sampling/recollection.py",
        "            slow.append(chain.slow_energy)\n",
        "            slow.append(chain.energies[-1] / (sampler.hamiltonian.kt * sampler.system.n_atoms))\n",
    ),
    one(
        "windows-turn-bonds-that-do-not-turn",
        "tests/test_stereo_bonds.py -k stay_on_the_way",
        "sampling/window_annealing.py",
        "        k, m = arrays.held[q, 1], arrays.held[q, 2]\n",
        "        k, m = -1, -1\n",
    ),
    one(
        "wider-windows-are-grown-in-few-molecules-only",
        "tests/test_linear.py -k wider",
        "sampling/growth.py",
        "    if len(others) and gained > PAYS * windows * grower.hamiltonian.kt:\n",
        "    if False:\n",
    ),
    one(
        "all-molecules-are-grown",
        "tests/test_memory.py -k few_are_grown",
        "sampling/sampler.py",
        "    if grower.short or count < MANY or not ",
        "    if True or not ",
    ),
    one(
        "molecules-are-not-mended",
        "tests/test_memory.py -k mended",
        "sampling/growth.py",
        "    copies, _ = bring_down(grower, molecules, positions, stream)\n    put(",
        "    copies = take(grower.whole, molecules, positions)\n    put(",
    ),
    one(
        "neighbours-listed-anew-in-every-stage",
        "tests/test_sampler.py -k near",
        "sampling/sampler.py",
        "if known is None or not np.array_equal(radius, known.radius):",
        "if True:",
    ),
    one(
        "old-neighbours-for-atoms-that-are-far",
        "tests/test_sampler.py -k far",
        "sampling/sampler.py",
        "if known is None or not np.array_equal(radius, known.radius):",
        "if known is None:",
    ),
    one(
        "special-pairs-act-in-packing-as-others-do",
        "tests/test_forces.py",
        "sampling/packing.py",
        "                    lists.skipped[i] += 1\n",
        "",
    ),
    one(
        "one-thread-does-it-all",
        "tests/test_sampler.py -k two_threads",
        "parallel.py",
        "if members == 1 or self._others is None:",
        "if True:",
    ),
    one(
        "cpu-time-of-other-threads-left-out",
        "tests/test_cost.py",
        "parallel.py",
        "_help.seconds += future.result()",
        "future.result()",
    ),
    one(
        "charges-end-beyond-the-cut-off-of-packing",
        "tests/test_preparation.py -k charges_end",
        "sampling/packing.py",
        "found._replace(constants=found.constants._replace(beyond=zero_quadrupole(CUTOFF).beyond))",
        "found",
    ),
    one(
        "atoms-may-leave-the-sphere-about-their-bead",
        "tests/test_preparation.py -k nothing_joins",
        "sampling/packing.py",
        "pull = _wall_force(x, y, z, place.radius[bead])",
        "pull = np.float32(0.0)",
    ),
    one(
        "tables-do-not-go-to-mdrun",
        "tests/test_workdir.py -k tables",
        "gromacs/workdir.py",
        'runs=" ".join(RUNS), tables=read',
        'runs=" ".join(RUNS), tables=""',
    ),
    one(
        "start-of-mdrun-counts-as-steps",
        "tests/test_cost.py",
        "gromacs/md_step.py",
        "str(WARM + steps)], folder, known) - first",
        "str(WARM + steps)], folder, known)",
    ),
    one(
        "torn-molecules-are-usable",
        "tests/test_sampler.py -k cannot",
        "sampling/sampler.py",
        "return np.asarray(right & whole & (near",
        "return np.asarray(right & (near",
    ),
    # --- network
    one(
        "local-frame-mirrored",
        "tests/test_environment.py",
        "network/environment.py",
        "y = torch.linalg.cross(z, x)",
        "y = torch.linalg.cross(x, z)",
    ),
    one(
        "heavy-atoms-see-hydrogens",
        "tests/test_environment.py tests/test_placement.py",
        "network/environment.py",
        "arrays.hydrogen[other] & ~arrays.hydrogen[atom]",
        "arrays.hydrogen[other] & arrays.hydrogen[atom]",
    ),
    one(
        "bonds-of-the-network-pull-their-hydrogens",
        "tests/test_bond_lengths.py tests/test_placement.py",
        "network/bond_lengths.py",
        "    held &= ~arrays.hydrogen[other] | arrays.hydrogen[atom][:, None]\n",
        "",
    ),
    one(
        "hands-are-not-told",
        "tests/test_guide.py",
        "network/guide_steps.py",
        "if volume < HAND * least",
        "if volume < -HAND * least",
    ),
    one(
        "a-guide-without-noise",
        "tests/test_guide.py",
        "network/guide_steps.py",
        "(distance - guide.distance[row, k]) - noise[k])",
        "(distance - guide.distance[row, k]) - 0 * noise[k])",
    ),
    one(
        "states-of-a-bead-taken-by-chance",
        "tests/test_guide.py",
        "network/guide_steps.py",
        "if chance[k] * (1 + math.exp(min(after - before, 700.0))) < 1:",
        "if chance[k] < 0.5:",
    ),
    one(
        "a-turn-made-on-the-processor",
        "tests/test_train_device.py",
        "train/batches.py",
        "torch.eye(3, device=device)",
        "torch.eye(3)",
    ),
    one(
        "channels-by-exclusion",
        "tests/test_environment.py",
        "network/arrays.py",
        "    if table.bond_counts:",
        "    if False:",
    ),
    # --- commands
    one(
        "wrong-stereocentres-exit-with-0",
        "tests/test_backmap.py -k exit_code",
        "chemistry/rules.py",
        '"flipped": float(centres.wrong),',
        '"flipped": 0.0,',
    ),
    one(
        "broken-rules-exit-with-0",
        "tests/test_rules.py",
        "commands/arguments.py",
        "return ExitCode.FLAWED if said else ExitCode.DONE",
        "return ExitCode.DONE",
    ),
    one(
        "bonds-may-be-of-any-length",
        "tests/test_rules.py",
        "chemistry/rules.py",
        '            "bonds": self.longest,\n',
        '            "bonds": 1.0,\n',
    ),
    one(
        "atoms-may-be-anywhere-off-their-beads",
        "tests/test_rules.py",
        "backmapping/summary.py",
        "np.max(apart / expected.widths, initial=0.0)",
        "np.min(apart / expected.widths, initial=0.0)",
    ),
    one(
        "overlaps-are-contacts-like-others",
        "tests/test_rules.py",
        "chemistry/rules.py",
        '"overlaps": float(self.closeness.min(initial=1.0)),',
        '"overlaps": 1.0,',
    ),
    one(
        "numbers-that-are-none-hold-rules",
        "tests/test_rules.py",
        "chemistry/rules.py",
        "broken = not (value >= limit if rule in LEAST else value <= limit)",
        "broken = value < limit if rule in LEAST else value > limit",
    ),
    one(
        "not-converged-exits-with-0",
        "tests/test_rules.py",
        "backmapping/summary.py",
        "if self.must_converge and self._is_off:",
        "if self._is_off and False:",
    ),
    one(
        "beads-at-one-point-pass-check",
        "tests/test_rules.py",
        "chemistry/feasible.py",
        "fatal=int(around[worst]) >= CROWD",
        "fatal=False",
    ),
    one(
        "beads-out-of-reach-pass-check",
        "tests/test_rules.py",
        "chemistry/feasible.py",
        "(STRETCH * reach + SLACK, True)",
        "(STRETCH * reach + SLACK, False)",
    ),
    one(
        "frames-without-room-for-atoms-are-rebuilt",
        "tests/test_rules.py -k refuses_what_check",
        "backmapping/rebuilder.py",
        "if not self.infeasible and (error := self.refusal(beads)):",
        "if self.infeasible and (error := self.refusal(beads)):",
    ),
    one(
        "frames-without-room-for-atoms-settle-things",
        "tests/test_rules.py -k settle_nothing",
        "backmapping/ready.py",
        "return found or frames",
        "return frames",
    ),
    one(
        "a-mesh-for-any-box",
        "tests/test_lattice.py -k all_but_empty",
        "forcefield/lattice.py",
        "> max(POINTS, EMPTY * len(frame.positions)))",
        "> math.inf)",
    ),
    one(
        "restraints-left-out-in-silence",
        "tests/test_top.py -k named",
        "files/top.py",
        "left_out=left_out)",
        "left_out=())",
    ),
    one(
        "another-switch-of-the-potential",
        "tests/test_lattice.py -k as_gromacs",
        "backmapping/switched.py",
        "1 - x**3 * (10 - 15 * x + 6 * x * x)",
        "1 - x * x * (3 - 2 * x)",
    ),
    one(
        "flipped-bits-of-models-are-read",
        "tests/test_generator.py",
        "network/model.py",
        "if sealed(content[:end]) != content:",
        "if False:",
    ),
    one(
        "channels-compared-by-number",
        "tests/test_generator.py",
        "network/model.py",
        "    if ours != theirs:\n",
        "    if len(ours) != len(theirs):\n",
    ),
    one(
        "weights-that-are-no-numbers-are-read",
        "tests/test_generator.py",
        "network/model.py",
        "if not bool(torch.isfinite(value).all())",
        "if bool(torch.isinf(value).all())",
    ),
    one(
        "states-that-are-settled-are-not-used",
        "tests/test_chirality.py",
        "backmapping/chirality.py",
        "sampler=replace(mapper.sampler, chirality=states)",
        "sampler=mapper.sampler",
    ),
    one(
        "undecided-exits-with-0",
        "tests/test_backmap.py -k exit_code",
        "chemistry/rules.py",
        '"undecided": float(centres.undecided + bonds.undecided),',
        '"undecided": 0.0,',
    ),
    one(
        "shared-elements-count-twice",
        "tests/test_chirality.py",
        "sampling/chirality.py",
        "message = _last(found[-1]) - shared",
        "message = _last(found[-1])",
    ),
    one(
        "racemo-for-meso",
        "tests/test_chirality.py",
        "chemistry/tacticity.py",
        "(-1 if racemo else 1)",
        "(1 if racemo else -1)",
    ),
    # --- input that must not crash
    one(
        "compressed positions may end within an atom",
        "tests/test_damaged.py -k compressed",
        "files/xtc_bits.py",
        "        if at + full + 1 > n_bits:\n            return SHORT\n",
        "",
    ),
    one(
        "an .xtc may have bytes left over",
        "tests/test_damaged.py -k no_atom_takes",
        "files/xtc_bits.py",
        "return SOUND if n_bits - at < 8 else LONG",
        "return SOUND",
    ),
    one(
        "the number of atoms of an .xtc is believed",
        "tests/test_damaged.py -k believed",
        "files/xdr.py",
        "if n_atoms > 4 * n_bytes:",
        "if False:",
    ),
    one(
        "numbers of a topology may be infinite",
        "tests/test_damaged.py -k no_force_field",
        "files/preprocess.py",
        "if not abs(value) <= HIGHEST",
        "if value != value",
    ),
    one(
        "lengths and force constants may be negative",
        "tests/test_damaged.py -k no_force_field",
        "files/forcefield.py",
        "if not least <= number <= most:",
        "if number > most:",
    ),
    one(
        "a signal that python drops is lost",
        "tests/test_interrupts.py -k dropped",
        "interrupts.py",
        "        if not isinstance(lost.exc_value, Interrupted):",
        "        if True:",
    ),
    one(
        "torsions stay above the floor of their basin",
        "tests/test_guide.py -k roots",
        "network/guide_tables.py",
        "    for _ in range(len(energy).bit_length()):  # twice",
        "    for _ in range(2):  # twice",
    ),
    one(
        "paths between beads count bonds, not their lengths",
        "tests/test_rules.py -k reach",
        "chemistry/feasible.py",
        "(graph, atom, cutoff=reach)",
        "(graph, atom, weight=None)",
    ),
    one(
        "macros may grow without end",
        "tests/test_damaged.py -k macros",
        "files/preprocess.py",
        "> _LONGEST and found:",
        "> 10**7 and found:",
    ),
    one(
        "a box may have any size",
        "tests/test_damaged.py -k boxes",
        "chemistry/frame.py",
        "if lengths.max() > LONGEST:",
        "if lengths.max() > 1e9:",
    ),
    one(
        "a pipe is opened as any file",
        "tests/test_damaged.py -k pipes",
        "files/text.py",
        '(stat.S_ISFIFO, "a named pipe"),',
        "",
    ),
    one(
        "an output may be a hard link to an input",
        "tests/test_damaged.py -k outputs",
        "commands/paths.py",
        "return one.samefile(other)",
        "return os.path.realpath(one) == os.path.realpath(other)",
    ),
    one(
        "control characters of names reach the terminal",
        "tests/test_damaged.py -k written_out",
        "errors.py",
        "c if c.isprintable() or c in keep else",
        "c if True else",
    ),
]


def problems(mutation: Mutation) -> list[str]:
    """Texts that are not in their file just once, and tests that are not there."""
    found = []
    for file, old, _ in mutation.edits:
        path = ROOT / PACKAGE / file
        times = path.read_text().count(old) if path.exists() else 0
        if times != 1:
            found.append(f"{file}: {old.strip()!r} is found {times} times")
    names = [word for word in mutation.tests if word.endswith(".py")]
    return found + [f"no {name}" for name in names if not (ROOT / name).exists()]


def noticed(mutation: Mutation) -> tuple[str, str]:
    """Make the mistake in a copy and run the tests: the verdict, and what failed or their last line."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for part in COPIED:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy(source, copy / part)
        for file, old, new in mutation.edits:
            path = copy / PACKAGE / file
            path.write_text(path.read_text().replace(old, new))
        environment = {**os.environ, "PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1"}
        tests = [*_words(mutation.tests), "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *tests],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no output"]
        failed = [line for line in lines if line.startswith("FAILED")]
        # a test that cannot begin says nothing
        run = done.returncode in (0, 1) and (failed or not done.returncode)
        verdict = NOTICED if failed and run else SURVIVED if run else NOT_RUN
        return verdict, (failed or lines)[-1][:110]


NOTICED, SURVIVED, NOT_RUN = "noticed", "SURVIVED", "NOT RUN"


def _words(tests: tuple[str, ...]) -> list[str]:
    """Arguments for pytest; all that follows ``-k`` is one expression."""
    if "-k" not in tests:
        return list(tests)
    where = tests.index("-k")
    return [*tests[:where], "-k", " ".join(tests[where + 1 :])]


def main(words: list[str] | None = None) -> int:
    """Make the mistakes, and list those that nothing noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true", help="only say whether all texts are found")
    given = parser.parse_args(words)
    known = {mutation.name: mutation for mutation in MUTATIONS}
    unknown = sorted(set(given.names) - set(known))
    if unknown:
        parser.error(f"no mutation {unknown[0]}; there are {', '.join(known)}")
    chosen = [known[name] for name in given.names] or MUTATIONS
    wrong = {mutation.name: problems(mutation) for mutation in chosen}
    survived = []
    for mutation in chosen:
        if wrong[mutation.name]:
            print(f"{mutation.name:48} CANNOT BE MADE   {'; '.join(wrong[mutation.name])}", flush=True)
        elif given.list:
            print(f"{mutation.name:48} can be made", flush=True)
        else:
            begin = time.monotonic()
            verdict, said = noticed(mutation)
            survived += [mutation.name] if verdict == SURVIVED else []
            wrong[mutation.name] = ["tests that cannot be run"] if verdict == NOT_RUN else []
            print(f"{mutation.name:48} {verdict:9} {time.monotonic() - begin:4.0f} s  {said}", flush=True)
    missing = [name for name, texts in wrong.items() if texts]
    if not given.list:
        print(f"\n{len(chosen) - len(survived) - len(missing)} of {len(chosen)} noticed")
        print("survivors:", ", ".join(survived) or "none")
    if missing:
        print("not made or not run, as code or tests have changed:", ", ".join(missing))
    return 1 if survived or missing else 0


if __name__ == "__main__":
    sys.exit(main())
