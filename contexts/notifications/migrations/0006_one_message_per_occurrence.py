"""Replace the unique constraint of messages without blocking their table."""

from django.db import migrations, models

CREATE_INDEX = """
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_message_per_occurrence
ON notifications_message (subject_id, template, channel, occurrence)
"""
ADD_CONSTRAINT = """
ALTER TABLE notifications_message
    ADD CONSTRAINT one_message_per_occurrence UNIQUE USING INDEX one_message_per_occurrence,
    DROP CONSTRAINT one_message_per_subject
"""
DROP_INDEX = "DROP INDEX IF EXISTS one_message_per_occurrence"
RESTORE_CONSTRAINT = """
ALTER TABLE notifications_message
    DROP CONSTRAINT one_message_per_occurrence,
    ADD CONSTRAINT one_message_per_subject UNIQUE (subject_id, template, channel)
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("notifications", "0005_refund_messages")]

    operations = [
        migrations.RunSQL(CREATE_INDEX, DROP_INDEX),
        migrations.RunSQL(
            ADD_CONSTRAINT,
            RESTORE_CONSTRAINT,
            state_operations=[
                migrations.RemoveConstraint(model_name="message", name="one_message_per_subject"),
                migrations.AddConstraint(
                    model_name="message",
                    constraint=models.UniqueConstraint(
                        fields=("subject_id", "template", "channel", "occurrence"), name="one_message_per_occurrence"
                    ),
                ),
            ],
        ),
    ]
