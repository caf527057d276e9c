"""Several messages of one template about one order: one for each refund."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0004_unknown_outcomes'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='occurrence',
            field=models.CharField(blank=True, db_default='', default='', help_text='What distinguishes messages of one template about one subject, such as the id of a refund.', max_length=36),
        ),
        migrations.AlterField(
            model_name='message',
            name='template',
            field=models.CharField(choices=[('order_confirmed', 'Order Confirmed'), ('order_rejected', 'Order Rejected'), ('order_cancelled', 'Order Cancelled'), ('order_put_on_hold', 'Order Put On Hold'), ('order_refunded', 'Order Refunded'), ('order_link', 'Order Link'), ('welcome', 'Welcome')], max_length=30),
        ),
    ]
