"""HTTP of orders."""

urlpatterns: list = []
