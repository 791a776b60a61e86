from django.core.management.base import BaseCommand

from guestbook.models import Entry

ENTRIES = [
    ("Ada", "It computes, and it fits in one file."),
    ("Grace", "Shipped it over a slow line. It arrived."),
    ("Guido", "Looks like a virtualenv to me."),
]


class Command(BaseCommand):
    help = "Writes a few entries into an empty guestbook."

    def handle(self, **options):
        if Entry.objects.exists():
            self.stdout.write("The guestbook has entries already.")
            return
        for name, message in ENTRIES:
            Entry.objects.create(name=name, message=message)
        self.stdout.write(self.style.SUCCESS(f"{len(ENTRIES)} entries written."))
