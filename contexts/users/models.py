"""Tables of users."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models

from shop.ids import uuid7


class User(AbstractBaseUser):
    """An account. The e-mail address, in lower case, is who somebody is."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    full_name = models.CharField(max_length=200)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["full_name"]

    def __str__(self) -> str:
        return self.email
