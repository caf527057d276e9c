"""Where the suite's shop runs: in the test's own process, or in five with a database each (TRANSPORT=remote).

    five.py           starts the five; the test process calls them, has them work, and asks over HTTP
    application.py    what one of them answers: the shop, its internal address, and the test process
    outside.py        what the test process answers: providers and contexts that a test puts in the place of real ones
    calls.py          calls from one to another: counted, and noted for
    repeats.py        the end of a test, which makes them once more
    reporting.py      what a run says about itself
    scenario.py       one story, told in every topology; state.py says what the databases then hold
"""
