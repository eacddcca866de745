"""From kept rows to the files a student is trained on: mixing, decontamination, phrasing and the
split."""
