"""The control of the benchmark: catalogue and orders as in an ordinary Django project, with one database and no events."""
