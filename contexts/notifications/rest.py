"""HTTP of notifications."""

urlpatterns: list = []
