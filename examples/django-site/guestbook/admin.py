from django.contrib import admin

from guestbook.models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    list_display = ["name", "message", "written_at"]
    list_filter = ["written_at"]
    search_fields = ["name", "message"]
