"""How good the atoms are: beside a reference, or beside what the force field predicts (``dbm-gmx evaluate``).

The extra ``report`` is needed for pictures, conformations and the classifier only.

Flow
----
::

    files  -read->  System, frames of each trajectory
    Frame  -measure->  Measured: distributions, energies, pairs, shape, broken rules
    Measured of the reference and of a candidate  -compare->  scores, with error bars and the floor;
        energies by term in kT per atom
    Frames of all  -conformations->  the conformational space
    Frames of all  -environments, two_samples->  whether a classifier tells them from the reference
    Evaluation  -write_report->  index.html, scores.json, data of the plots, structures of the worst places
"""
