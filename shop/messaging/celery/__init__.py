"""The engine on a broker: Celery carries envelopes, the databases stay the truth."""
