"""The nonces of received calls, which all processes of a context share."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shop', '0012_ratelimit_attempts'),
    ]

    operations = [
        migrations.CreateModel(
            name='ReceivedCall',
            fields=[
                ('nonce', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('expires_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['expires_at'], name='received_call_expiry')],
            },
        ),
    ]
