"""Admin of $context."""

from django.contrib import admin

from contexts.$context.models import $Noun
from shop.admin.context_admin import ContextAdmin


@admin.register($Noun)
class ${Noun}Admin(ContextAdmin):
    list_display = ("reference", "user_id", "created_at", "processed_at")
    search_fields = ("reference__exact", "id__exact", "user_id__exact")
    search_help_text = "Reference, id or user id, in full."
    ordering = ("-id",)
