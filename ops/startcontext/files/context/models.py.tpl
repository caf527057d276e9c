"""Tables of $context."""

from django.db import models
from django.db.models.functions import Now

from shop.db.retention import Kept
from shop.ids import uuid7


class $Noun(models.Model):
    """$A_noun of a user, with a reference that is unique among the $context of the user."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user_id = models.UUIDField()
    reference = models.CharField(max_length=200)
    text = models.TextField()
    sequence = models.BigIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    processed_at = models.DateTimeField(null=True, blank=True)

    retention = Kept(because="It belongs to its user.")

    class Meta:
        verbose_name_plural = "$context"
        constraints = [models.UniqueConstraint(fields=["user_id", "reference"], name="one_${noun}_per_reference")]
        indexes = [models.Index(fields=["user_id", "-id"], name="${noun}_of_user")]

    def __str__(self) -> str:
        return self.reference
