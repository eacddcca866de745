"""Topics with quotas, personas, and a tree of topics in a file: what rows are spread over."""
