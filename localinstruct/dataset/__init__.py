"""From kept rows to training files: mixing, decontamination, phrasing and the split."""
