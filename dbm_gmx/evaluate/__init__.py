"""How good the atoms are: beside a reference, or beside what the force field predicts (``dbm-gmx evaluate``).

Scores need the extra ``report`` for pictures and conformations only.

Flow
----
::

    files  -read->  System, frames of each trajectory
    Frame  -measure->  Measured: distributions, energies, pairs, shape, broken rules
    Measured of the reference and of a candidate  -compare->  scores, with error bars and the floor
    Frames of all  -conformations->  the conformational space
    Evaluation  -write_report->  index.html, scores.json, data of the plots, structures of the worst places
"""
