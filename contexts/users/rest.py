"""HTTP of users."""

urlpatterns: list = []
