"""Tables of users."""

from datetime import timedelta

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from shop import sizes
from shop.db.retention import DeletedAfter, DeletedWithLast, Kept
from shop.ids import uuid7

# Counters are forgotten this long after the latest attempt that was not refused. Longer than every delay.
ATTEMPT_RETENTION = timedelta(hours=1)


class User(AbstractBaseUser):
    """An account, identified by its canonical e-mail address. A user with permissions is staff."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=sizes.EMAIL_LENGTH, unique=True)
    full_name = models.CharField(max_length=sizes.TEXT_LENGTH)
    is_active = models.BooleanField("active", default=True)
    permissions = ArrayField(
        models.CharField(max_length=64),
        default=list,
        blank=True,
        help_text="Comma-separated, for example orders.view, orders.change. * grants all permissions.",
    )
    created_at = models.DateTimeField("registered", db_default=Now(), editable=False)
    sequence = models.BigIntegerField(default=0, editable=False)
    last_login = None  # no feature uses it, and it would cost a write at each sign-in

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["full_name"]

    retention = Kept(because="It is the account of a customer or of staff.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(email=Lower("email")), name="email_is_lower_case")]

    def __str__(self) -> str:
        return self.email


class TokenFamily(models.Model):
    """All refresh tokens that descend from one sign-in by rotation. A family is revoked as a whole."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="families")
    revoked = models.BooleanField(default=False)
    began_at = models.DateTimeField(db_default=Now())

    retention = DeletedWithLast("users_refreshtoken", by="family_id")

    class Meta:
        verbose_name_plural = "token families"

    def __str__(self) -> str:
        return str(self.id)


class StaffSession(models.Model):
    """A session of staff in the admin, from sign-in to sign-out. Each request of the admin reads it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="staff_sessions")
    revoked = models.BooleanField(default=False, db_default=False)
    began_at = models.DateTimeField(db_default=Now())
    used_at = models.DateTimeField(db_default=Now())

    retention = DeletedAfter(since="began_at", setting="STAFF_SESSION_SECONDS", period=timedelta(days=1))

    class Meta:
        indexes = [models.Index(fields=["began_at"], name="staff_session_age")]

    def __str__(self) -> str:
        return str(self.id)


class RefreshToken(models.Model):
    """A refresh token for a single use. Only its SHA-256 hash is stored."""

    digest = models.CharField(max_length=64, primary_key=True)
    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="tokens")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    # Until then the reuse of an expired token is still detected.
    retention = DeletedAfter(since="expires_at", setting="EXPIRED_TOKEN_RETENTION_DAYS")

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="refresh_token_expiry")]

    def __str__(self) -> str:
        return self.digest[:8]


class SignInAttempts(models.Model):
    """Number of sign-in attempts for one account, or for one account from one client, up to the one at `began_at`."""

    subject = models.CharField(
        max_length=64, primary_key=True, help_text="Keyed hash of the account or of the client address."
    )
    began_at = models.DateTimeField(db_default=Now())
    count = models.IntegerField()

    retention = DeletedAfter(since="began_at", period=ATTEMPT_RETENTION)

    class Meta:
        verbose_name_plural = "sign-in attempts"
        indexes = [models.Index(fields=["began_at"], name="sign_in_attempts_age")]

    def __str__(self) -> str:
        return f"{self.count} until {self.began_at}"
