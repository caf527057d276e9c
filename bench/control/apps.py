from django.apps import AppConfig


class ControlConfig(AppConfig):
    name = "bench.control"
    label = "control"
