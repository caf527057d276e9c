from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0007_parked_deliveries")]

    operations = [
        AddIndexConcurrently(
            "delivery",
            models.Index(
                condition=models.Q(("parked_at__isnull", False)), fields=["parked_at"], name="delivery_parked"
            ),
        ),
    ]
