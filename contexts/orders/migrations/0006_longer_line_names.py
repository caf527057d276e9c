from django.db import migrations, models


class Migration(migrations.Migration):
    """Make room for the name of a product and the name of its variant together. PostgreSQL rewrites no row for this."""

    dependencies = [
        ('orders', '0005_currencies'),
    ]

    operations = [
        migrations.AlterField(
            model_name='orderline',
            name='name',
            field=models.CharField(max_length=402),
        ),
    ]
