"""`python -m localinstruct`: the same as the command `localinstruct`."""

from localinstruct.cli import main

main()
