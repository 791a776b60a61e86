from django.urls import reverse_lazy
from django.views.generic import CreateView

from guestbook.models import Entry


class Guestbook(CreateView):
    """The newest entries under a form for one more."""

    model = Entry
    fields = ["name", "message"]
    success_url = reverse_lazy("guestbook")
    template_name = "guestbook/guestbook.html"

    def get_context_data(self, **kwargs):
        return super().get_context_data(entries=Entry.objects.all()[:50], total=Entry.objects.count(), **kwargs)
