"""An index by which old messages with the link to an order are found."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("notifications", "0006_one_message_per_occurrence")]

    operations = [
        AddIndexConcurrently(
            "message",
            models.Index(condition=models.Q(("template", "order_link")), fields=["created_at"], name="message_link_age"),
        ),
    ]
