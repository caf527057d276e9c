"""The nonces of received calls, in the database of the called context, so that no process accepts a recorded request again.

All processes that host the context share them. They are written without waiting for the disk: a crash of the database
server forgets those of its last half second.
"""

from shop.db.database import PreparedStatement, execute
from shop.db.relaxed_commits import RELAX_SQL

SIGNATURE_WINDOW_SECONDS = 30  # validity of a signature, and the difference that two clocks may have
NONCE_SECONDS = 2 * SIGNATURE_WINDOW_SECONDS  # by the latest clock, a signature is valid until then

_RECORD_SQL = PreparedStatement(f"""
INSERT INTO shop_receivedcall (nonce, expires_at)
SELECT %s, clock_timestamp() + make_interval(secs => %s) FROM {RELAX_SQL}
ON CONFLICT DO NOTHING""")


def record_nonce(alias: str, nonce: str) -> bool:
    """Record a nonce. Returns False if a process that uses this database has recorded it before."""
    return execute(alias, _RECORD_SQL, [nonce, NONCE_SECONDS]) == 1
