"""How fast localinstruct is, against the fastest and the usual way on the same machine; README.md
says what is measured."""

from localinstruct.offline import switches

switches.enforce()  # as the command line does, before any library is loaded
