"""Carry models, wheels, recipes and results across an air gap: pack, verify, import.

Nothing is lost, nothing is run.

    contents   models, recipes with their seeds, wheels, this program, a run's results -> Items
    pack       Items -> numbered parts that fit the medium, and MANIFEST.json; beside them
               SBOM.cdx.json, LICENCES/ and the programs VERIFY.py, SIGNATURE.py, UNPACK.py
    guard      VERIFY.py: the check of a guard desk, standard library only; all rules stand there
    ed25519    SIGNATURE.py: who made it, without any package (in the program: `signing`)
    takeout    UNPACK.py: the wheels, on a machine that has nothing of ours yet
    verify     guard's check with progress, memory of parts read before, and the signature
    unpack     stage -> sync -> rename into a workspace; continues after a kill; does nothing twice

The parts, put one after another, are the packed files put one after another, in order of path:
`cat` is the unpacker of last resort. Not covered: encryption (use an encrypted medium), and models
that are served at an endpoint.
"""
