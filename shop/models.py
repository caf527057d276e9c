"""The kernel's tables. Every context's database has them, with that context's rows."""

import uuid
from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from shop import sizes
from shop.db.leases import LeasedModel
from shop.db.retention import DeletedAfter, DeletedWith, Kept
from shop.ids import uuid7


class OutboxEvent(models.Model):
    """A published event, written in the transaction of the change that it reports."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    version = models.SmallIntegerField()
    stream = models.CharField(max_length=150)
    sequence = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    hops = models.SmallIntegerField(default=0)
    correlation_id = models.CharField(max_length=sizes.REQUEST_ID_LENGTH)
    causation_id = models.CharField(max_length=sizes.REQUEST_ID_LENGTH)
    traceparent = models.CharField(max_length=64, blank=True)
    payload = models.JSONField()

    retention = DeletedAfter(
        since="occurred_at",
        setting="EVENT_RETENTION_DAYS",
        condition="""NOT EXISTS (
    SELECT FROM shop_delivery waiting WHERE waiting.stream = old.stream AND waiting.acknowledged_at IS NULL)""",
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "sequence"], name="one_event_per_sequence")]
        indexes = [models.Index(fields=["occurred_at"], name="outbox_event_age")]
        verbose_name = "published event"
        verbose_name_plural = "published events"

    def __str__(self) -> str:
        return f"{self.name} {self.stream}#{self.sequence}"


class Delivery(models.Model):
    """The delivery of one event to one subscribing context."""

    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    subscriber = models.CharField(max_length=30)
    stream = models.CharField(max_length=150)
    sequence = models.BigIntegerField()
    due_at = models.DateTimeField(null=True, blank=True, db_default=Now(), help_text="Empty while it is parked.")
    attempts = models.IntegerField(default=0, db_default=0)
    refused_since = models.DateTimeField(null=True, blank=True, help_text="First refusal by the subscriber.")
    parked_at = models.DateTimeField(null=True, blank=True)
    replayed_at = models.DateTimeField(null=True, blank=True, help_text="When staff replayed it after it was parked.")
    discarded_because = models.TextField(blank=True, db_default="")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, db_default="")

    retention = DeletedWith("shop_outboxevent", by="event_id")

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["event", "subscriber"], name="one_delivery_per_subscriber")]
        indexes = [
            # The second condition excludes parked deliveries. It also keeps the planner from using this index, and reading
            # every due delivery, when it looks for those of one stream.
            models.Index(
                fields=["due_at"], condition=Q(acknowledged_at=None, due_at__isnull=False), name="delivery_due_at"
            ),
            models.Index(
                fields=["subscriber", "stream", "sequence"], condition=Q(acknowledged_at=None), name="delivery_in_order"
            ),
            models.Index(fields=["parked_at"], condition=Q(parked_at__isnull=False), name="delivery_parked"),
        ]

    def __str__(self) -> str:
        return f"{self.stream}#{self.sequence} to {self.subscriber}"


class InboxRow(LeasedModel):
    """One event for one handler. The handler's effect and `handled_at` are written in the same transaction."""

    event_id = models.UUIDField()
    handler = models.CharField(max_length=100)
    ordered = models.BooleanField()
    name = models.CharField(max_length=100)
    stream = models.CharField(max_length=150)
    sequence = models.BigIntegerField()
    envelope = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    starts = models.IntegerField(default=0, db_default=0, help_text="Consecutive starts that did not end.")
    failures = models.IntegerField(default=0, db_default=0)
    handled_at = models.DateTimeField(null=True, blank=True)
    parked_at = models.DateTimeField(null=True, blank=True)
    discarded_because = models.TextField(blank=True, db_default="")
    error = models.TextField(blank=True, db_default="")

    retention = DeletedAfter(
        since="handled_at",
        setting="EVENT_RETENTION_DAYS",
        condition="""NOT EXISTS (
    SELECT FROM shop_inboxrow waiting WHERE waiting.stream = old.stream AND waiting.handled_at IS NULL)""",
    )

    class Meta:
        verbose_name = "received event"
        verbose_name_plural = "received events"
        constraints = [models.UniqueConstraint(fields=["event_id", "handler"], name="one_inbox_row_per_handler")]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(handled_at=None, parked_at=None), name="inbox_due"),
            models.Index(
                fields=["id"], condition=Q(starts__gt=0, handled_at=None, parked_at=None), name="inbox_started_before"
            ),
            models.Index(fields=["handler", "stream", "sequence"], condition=Q(handled_at=None), name="inbox_in_order"),
            models.Index(fields=["parked_at"], condition=Q(parked_at__isnull=False), name="inbox_parked"),
            models.Index(fields=["handled_at"], condition=Q(handled_at__isnull=False), name="inbox_age"),
        ]

    def __str__(self) -> str:
        return f"{self.stream}#{self.sequence} for {self.handler}"


class IdempotencyKey(models.Model):
    """A completed request, written in the transaction of its effect, with the resource that it created."""

    scope = models.CharField(max_length=sizes.IDEMPOTENCY_SCOPE_LENGTH, help_text="Caller, method and path.")
    key = models.CharField(max_length=sizes.IDEMPOTENCY_KEY_LENGTH)
    fingerprint = models.CharField(max_length=64, help_text="Keyed hash of the request body.")
    resource = models.UUIDField(
        null=True, blank=True, help_text="What the request created. The key is kept as long as the resource."
    )
    status = models.SmallIntegerField(
        null=True, blank=True, help_text="Status of the final response; empty until there is one."
    )
    body = models.BinaryField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    retention = DeletedAfter(
        since="created_at", setting="IDEMPOTENCY_KEY_RETENTION_HOURS", condition="resource IS NULL"
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["scope", "key"], name="one_row_per_idempotency_key")]
        indexes = [
            models.Index(fields=["created_at"], condition=Q(resource__isnull=True), name="idempotency_key_purge"),
            models.Index(fields=["resource"], condition=Q(resource__isnull=False), name="idempotency_key_resource"),
        ]

    def __str__(self) -> str:
        return self.key


class AuditEntry(models.Model):
    """A privileged change: who changed what, and the values before. Append-only."""

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(max_length=sizes.ACTOR_LENGTH)
    action = models.CharField(max_length=100)
    object_type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=100)
    detail = models.JSONField(default=dict)

    retention = Kept(because="It shows who changed money, stock and permissions.")

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = [F("at").desc()]
        indexes = [models.Index(fields=["object_type", "object_id"], name="audit_object")]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id} by {self.actor}"


class RateLimit(models.Model):
    """The requests, or failures, that a rate limit has counted by one key, within the period before the latest one."""

    subject = models.CharField(
        max_length=64, primary_key=True, help_text="Keyed hash of the limit and of what it counts by."
    )
    hits = ArrayField(models.DateTimeField(), help_text="When each request was counted, the oldest first.")
    attempts = ArrayField(
        models.DateTimeField(),
        default=list,
        db_default=[],
        help_text="Of a limit of failures: when each attempt that is under way was counted.",
    )
    quota = models.IntegerField()
    period = models.DurationField()
    expires_at = models.DateTimeField()

    # No index on the time: each counted request would have to maintain it.
    retention = DeletedAfter(since="expires_at", is_indexed=False)

    class Meta:
        verbose_name = "rate limit counter"
        constraints = [models.CheckConstraint(condition=Q(hits__len__lte=F("quota")), name="rate_limit_within_quota")]

    def __str__(self) -> str:
        return self.subject[:8]


class BatchJob(LeasedModel):
    """An action on many objects. Workers run it object by object, and resume at `position` after a crash."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    action = models.CharField(max_length=100)
    actor = models.CharField(max_length=sizes.ACTOR_LENGTH)
    objects_to_change = models.JSONField(help_text="Key, label and argument of each object.")
    total = models.IntegerField()
    position = models.IntegerField(default=0, db_default=0, help_text="Number of objects that are processed.")
    failed = models.IntegerField(default=0, db_default=0)
    failures = models.JSONField(default=list, help_text="Key, label and error of the first objects that failed.")
    error = models.TextField(blank=True, db_default="", help_text="The outage for which the job waits.")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True, help_text="Empty until it is confirmed.")
    finished_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(
        null=True, blank=True, help_text="When staff stopped it. No object is begun after."
    )
    stopped_by = models.CharField(max_length=sizes.ACTOR_LENGTH, blank=True, db_default="")

    retention = (
        DeletedAfter(since="finished_at", setting="BATCH_JOB_RETENTION_DAYS"),
        DeletedAfter(since="created_at", period=timedelta(days=1), condition="started_at IS NULL"),
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(position__gte=0, position__lte=F("total"), failed__gte=0, failed__lte=F("position")),
                name="batch_job_position",
            ),
            models.CheckConstraint(
                condition=Q(finished_at=None) | Q(position=F("total")) | Q(stopped_at__isnull=False),
                name="batch_job_finishes_at_its_end",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="batch_job_due"),
            models.Index(fields=["action", "-created_at"], name="batch_jobs_of_an_action"),
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="batch_job_age"),
            models.Index(fields=["created_at"], condition=Q(started_at=None), name="batch_job_unconfirmed"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"

    @property
    def is_cut_short(self) -> bool:
        """Return whether objects were left out because staff stopped the job."""
        return self.stopped_at is not None and self.position < self.total


class CallCount(models.Model):
    """The calls of one edge in one minute whose durations are in one histogram bucket."""

    minute = models.DateTimeField()
    caller = models.CharField(max_length=30)
    method = models.CharField(max_length=100)
    nth = models.SmallIntegerField(help_text="Histogram bucket: durations from 2**(nth/2) microseconds on.")
    calls = models.IntegerField()
    failed = models.IntegerField()
    seconds = models.FloatField()

    retention = DeletedAfter(since="minute", setting="CALL_COUNT_RETENTION_HOURS")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["minute", "caller", "method", "nth"], name="one_row_per_edge_and_range")
        ]

    def __str__(self) -> str:
        return f"{self.caller} to {self.method} at {self.minute}"


class ReceivedCall(models.Model):
    """A call that another process has sent, by the nonce of its signature, until the signature expires."""

    nonce = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField()

    retention = DeletedAfter(since="expires_at")

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="received_call_expiry")]

    def __str__(self) -> str:
        return self.nonce


class Purge(models.Model):
    """The result of deleting old rows by one rule, see shop/purging.py."""

    rule = models.CharField(max_length=120, primary_key=True, help_text="The table, or the table and a column.")
    started_at = models.DateTimeField(help_text="Start of the last run.")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="End of the last run without an error.")
    deleted = models.BigIntegerField(default=0, db_default=0, help_text="Rows deleted since the beginning.")
    behind_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when no run has had the time to delete all rows that are old enough."
    )
    failures = models.IntegerField(default=0, db_default=0, help_text="Consecutive runs that failed.")
    failed_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, db_default="")

    retention = Kept(because="It has one row for each rule.")

    def __str__(self) -> str:
        return self.rule
