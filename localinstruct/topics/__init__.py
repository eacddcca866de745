"""Topics with quotas, personas, and a tree of topics in a file: coverage of the rows."""
