"""Run the shop of the test suite in the test process, or in five processes with a database each (TRANSPORT=remote).

five_processes.py   starts the five processes, sends them requests and commands
application.py      the application of one of them: the shop, its internal address, and the commands of the test process
fakes_server.py     the server in the test process, for the fakes with which a test replaces providers and contexts
recorded_calls.py   counts and records the calls between processes
repeated_calls.py   repeats the recorded calls at the end of a test
reporting.py        the report of a run: calls by folder, and what the five processes logged during a failed test
scenario.py         one scenario for every topology
state.py            the state of the databases after it, in a form that two runs can compare
"""
