"""What rows are spread over: topics with quotas, personas, and a tree of topics in a file."""
