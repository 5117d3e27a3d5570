"""Training: from frames of atoms to a model.  Backmapping never imports anything from here.

Flow
----
::

    file  -read_settings->  TrainSettings
    frames of atoms  -make_pair->  pairs of atoms and beads  -make_corpus->  Corpus (all environments)
    Corpus  -draw->  batch of atom sequences  -roll_out->  atoms placed, and what each of them saw
    Rollout  -critic, energies->  losses  -take_step->  Learner
    Learner  -save->  checkpoint, model;  -score->  free generation of held-out frames

==============  =================================================================================
``settings``    what a training can be told
``frames``      frames of atoms with their beads
``corpus``      all atoms of all frames and what they see
``views``       what a batch of them sees; batches
``rollout``     the atoms of a bead placed one after the other, and their energies
``critic``      the network that tells data from what was generated
``losses``      losses and priors as functions of numbers
``learner``     networks and optimisers; one step of either phase
``start``       the model to begin with, channels added
``scores``      free generation, compared with the data
``checkpoint``  all that changes, saved and restored
``watch``       log, warnings, when to stop
``group``       several processes
``loop``        the whole training
==============  =================================================================================
"""
