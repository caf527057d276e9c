"""Where the suite's shop runs: in the test's own process, or in five with a database each (TRANSPORT=remote).

    five.py           starts the five; the test process calls them, has them work, and asks over HTTP
    application.py    what one of them answers: the shop, its internal address, and the test process
    outside.py        what the test process answers: providers and contexts that a test puts in the place of real ones
"""
