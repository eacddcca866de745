"""What came of a run, for people: report.html with its charts, and the cards of student and
dataset."""
