"""dbm_gmx: put the atoms back into coarse-grained GROMACS simulations.

Principles
----------
* The target is known.  Topology, temperature and beads define the distribution of the atoms;
  a trained network makes good proposals quickly, it never defines what is right.
* One plain immutable record per idea, free functions between them, data flowing one way.
* Graph order = array row = file order.  Rows are 0-based inside, 1-based only in files.
* Units are those of GROMACS: nm, ps, kJ/mol, amu, e, degrees in parameters.
* Every file ends in the same records; nothing downstream knows which file it came from.
* Bad input is an :class:`~dbm_gmx.errors.InputError` that says where, what was found and what
  would have been possible.  It is raised before anything is written.
* The answer depends on the seed and the frame, not on batch size, box origin or wrapping.

Flow
----
::

    files  -read->  Topology, Mapping   -plan->  Plan (order of placing, once per molecule type)
    files  -read->  Frame of beads
    Frame + atoms known so far  -surround->  Environment  -Generator->  next atom
    Frame of beads -fold, choose, settle, sweep (Target, Blocks)-> Frame of atoms
    Frame of atoms  -write->  .gro/.xtc/.trr/.pdb
    Frame of atoms  -relax-> gmx grompp, gmx mdrun  -read->  Frame of atoms
    Frame of atoms  -map->   Frame of beads
    Frames of atoms, and of a reference  -evaluate->  Evaluation  -write->  a page, scores, data

=====================  ==========================================================================
``options``            what a user can choose
``topology, mapping``  what the system is: molecule graphs with their terms; atoms to beads
``frame``              positions, box, time; periodic geometry
``files/``             every reader and writer; the library of molecules
``plan``               the order in which beads and atoms are placed (networkx, no torch)
``energy``             the force field's terms, on torch tensors
``channels``           atom classes from the molecular graph, feature channels
``system``             all of the above for the system at hand: beads matched with atoms
``layout``             the same as arrays over atoms and beads
``grid, environment``  what one atom sees: neighbours, local frame, smooth densities
``generator, model``   the network; the file that holds it with all needed to use it
``judge``              local energies and hands: what is to be tried again
``bonds``              bonds of fixed length, kept by what the network places
``reconstruct``        grow and sweep: a scene of beads to atoms
``target``             what is sampled: force field, temperature and beads, as arrays
``place``              a frame: atoms, beads, and which beads are near each other
``fragments, moves``   pieces of a molecule, what is moved together
``conformers, embed``  shapes of fragments; molecules folded onto their beads
``crowd``              their shapes chosen among each other
``anneal``             the dynamics that folds them
``field``              what they feel of those around on the way to a minimum
``forces, settle``     Langevin dynamics that packs them
``tables, kernels``    arrays and arithmetic of the compiled sweeps
``sweep, sample``      the Markov chain; the atoms of a frame
``quality``            contacts, stereocentres, deviation from the beads
``parallel``           jobs on several threads
``backmap, universe``  the main job on files, and on MDAnalysis Universes
``forward``            the way back: atoms to beads
``dynamics``           a frame minimised and run by GROMACS, its centres on the beads
``relax, relaxed``     all frames, and what there is to say about them
``handoff, workdir``   what follows a reconstruction; a folder from which GROMACS goes on
``evaluate/``          what was got, beside a reference or what the force field lets expect
``train/``             how a model is made (never imported by backmapping)
``check, benchmark``   validation without conversion; speed and memory
``cli``                the command line: parses, calls one function
=====================  ==========================================================================

Chemistry (``topology`` to ``plan``, ``channels``) knows no tensors, the network (``generator``) no
chemistry; they meet in ``layout`` and ``environment``.
"""

__version__ = "0.1.0"
