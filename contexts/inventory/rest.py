"""HTTP of inventory."""

urlpatterns: list = []
