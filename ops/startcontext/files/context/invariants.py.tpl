"""Invariants of $context, see shop/invariants.py."""

from shop.invariants import ContextInvariants, EventCounter, Invariant

_PROCESSED_SQL = """
SELECT id AS subject, CASE WHEN processed_at < created_at THEN 'processed before it was created' END AS problem
FROM ${context}_$noun"""

DECLARATION = ContextInvariants(
    invariants=(
        Invariant(
            number=$number,
            name="${noun}_processed_after_creation",
            description="$A_noun is created before it is processed.",
            sql=_PROCESSED_SQL,
        ),
    ),
    required_constraints=("one_${noun}_per_reference",),
    event_counters=(EventCounter(stream="$context.$noun", table="${context}_$noun"),),
)
