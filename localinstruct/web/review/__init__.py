"""`localinstruct review`: rows of a run or a file looked at, kept, dropped, mended and labelled.

    index     every row and reject, to be filtered, sorted and searched in milliseconds
    query     a choice of rows, as it stands in a page's address
    look      a row as a page shows it: differences, quotations, pairs, relatives
    desk      what the pages work on: index, decisions, seeds, rubric
    sample    a proposed sample, and the share of good rows that it tells
    routes    the pages themselves

Decisions lie in `store.reviews`, what becomes of them in a data set in `dataset.reviewed`.
"""
