"""Speed of localinstruct beside the fastest and the usual way on the same machine.

README.md describes each measurement.
"""

from localinstruct.offline import switches

switches.enforce()  # as the command line does, before any library is loaded
