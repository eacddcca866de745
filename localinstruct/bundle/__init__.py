"""Carry models, wheels, recipes and results across an air gap: pack, verify, import. Nothing is
lost, nothing is run.

    contents   what goes in: models, recipes with their seeds, wheels, this program, a run's results -> Items
    pack       Items -> numbered parts that fit the medium, MANIFEST.json, SBOM.cdx.json, LICENCES/, VERIFY.py
    guard      VERIFY.py itself: standard library only, from Python 3.8, for a guard desk; all rules stand there
    ed25519    SIGNATURE.py itself: who made it, without any package; `signing` makes keys and signatures
    takeout    UNPACK.py itself: the wheels, on a machine that has nothing of ours yet
    verify     guard's check with progress, memory of what was read, and the signature
    unpack     stage -> sync -> rename into a workspace; continues after a kill; a second time it does nothing

The parts, put one after another, are the packed files put one after another, in order of path:
`cat` is the unpacker of last resort. Not covered: encryption (use an encrypted medium), and models
that are served at an endpoint.
"""
