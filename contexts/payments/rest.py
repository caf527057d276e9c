"""HTTP of payments."""

urlpatterns: list = []
