"""A second control for reads: FastAPI with asyncpg, on the tables of Satsuma."""
