"""`python -m localinstruct`: the same as the command `localinstruct`."""

from localinstruct.cli.app import main

main()
