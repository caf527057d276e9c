"""The checkout saga: from a placed order to a confirmed and paid one, or back to released stock and a voided payment."""
