"""Evaluation: what was got, beside a reference or what the force field lets expect.

Flow
----
::

    files  -read->  System, frames of each trajectory
    Frame  -measure->  Measured: distributions, energies, pairs, shape, broken rules
    Measured of the reference and of a candidate  -compare->  scores, with error bars and the floor
    Frames of all  -conformations->  the conformational space
    Evaluation  -write_report->  index.html, scores.json, data of the plots, structures of the worst places

=================  ==============================================================================
``distributions``  bonds, angles and dihedrals by class; divergences; what the terms alone would make
``pairs``          Lennard-Jones energy of each molecule, g(r)
``shape``          radius of gyration, ends, tacticity
``rings``          rings that a bond goes through
``rules``          hard rules
``measure``        all of that for a frame
``compare``        distances of frames from those of the reference, errors, floor
``conformations``  environments of monomers, map, clusters, populations (needs the extra ``report``)
``evaluation``     the whole of it, from the files
``tables``         the result as numbers: scores, and the data of each plot
``figures``        the plots
``worst``          structures of the worst places
``page``           tables and figures as a page
``report``         the folder with all of it
=================  ==============================================================================
"""
