"""Tests run as the command line does: the offline environment is set before any library."""

from localinstruct.offline import switches

switches.enforce()
