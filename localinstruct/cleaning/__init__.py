"""Clean a data set that is there already: the gate of a run for rows that files bring."""
