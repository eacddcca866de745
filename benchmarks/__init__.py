"""How fast localinstruct is, against the fastest and the usual way on the same machine; README.md
says what is measured."""
