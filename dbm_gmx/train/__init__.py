"""How a model is made (``dbm-gmx train``); never imported by backmapping.

Flow
----
::

    file  -read_settings->  TrainSettings
    frames of atoms  -make_pair->  pairs of atoms and beads  -make_dataset->  Dataset (all environments)
    Dataset  -draw->  batch of atom sequences  -roll_out->  atoms placed, and what each of them saw
    Rollout  -critic, energies->  losses  -take_step->  State
    State  -save->  checkpoint, model;  -score->  free generation of held-out frames
"""
