"""The report of a run, report.html with its charts, and the cards of student and dataset."""
