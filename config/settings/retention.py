"""How long rows of the kernel's tables are kept."""

from shop.settings import read_number

# Published and received events. An event that arrives 29 days after its publication is refused, so 30 days are the least.
EVENT_RETENTION_DAYS = read_number("EVENT_RETENTION_DAYS", 30, least=30, most=3_650)
# Idempotency keys of requests that created nothing. The key of an order, a refund or a stock movement is kept with it.
IDEMPOTENCY_KEY_RETENTION_HOURS = read_number("IDEMPOTENCY_KEY_RETENTION_HOURS", 72, least=24, most=87_600)
# Finished actions of staff on many objects.
BATCH_JOB_RETENTION_DAYS = read_number("BATCH_JOB_RETENTION_DAYS", 30, least=1, most=3_650)
# Counts of calls between contexts, for the page of traffic in the admin.
CALL_COUNT_RETENTION_HOURS = read_number("CALL_COUNT_RETENTION_HOURS", 24, least=1, most=8_760)
