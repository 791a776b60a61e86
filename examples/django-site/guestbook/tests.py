import io

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import TestCase
from django.urls import reverse

from guestbook.models import Entry


class GuestbookPage(TestCase):
    def test_an_empty_book_says_so(self):
        self.assertContains(self.client.get("/"), "Nobody has been here yet.")

    def test_an_entry_is_kept_and_shown(self):
        answer = self.client.post("/", {"name": "Ada", "message": "<b>Hello</b>"}, follow=True)
        self.assertRedirects(answer, reverse("guestbook"))
        self.assertContains(answer, "1 entry so far")
        self.assertContains(answer, "&lt;b&gt;Hello&lt;/b&gt;")

    def test_the_newest_entry_comes_first(self):
        for name in ("first", "second"):
            Entry.objects.create(name=name, message="hello")
        self.assertEqual([entry.name for entry in Entry.objects.all()], ["second", "first"])

    def test_an_entry_without_a_message_is_refused(self):
        answer = self.client.post("/", {"name": "Ada", "message": ""})
        self.assertContains(answer, "This field is required.")
        self.assertFalse(Entry.objects.exists())


class StaticFiles(TestCase):
    def test_files_of_the_site_and_of_the_admin_are_served(self):
        for path in ("guestbook/style.css", "admin/css/base.css"):
            answer = self.client.get(f"/static/{path}")
            self.assertEqual(answer.status_code, 200, path)
            self.assertIn("text/css", answer["Content-Type"])
            answer.close()


class Admin(TestCase):
    def test_entries_are_listed(self):
        Entry.objects.create(name="Ada", message="hello")
        self.client.force_login(User.objects.create_superuser("root"))
        self.assertContains(self.client.get(reverse("admin:guestbook_entry_changelist")), "Ada")


class Seed(TestCase):
    def test_it_fills_an_empty_book_once(self):
        for expected in ("3 entries written.", "has entries already"):
            said = io.StringIO()
            call_command("seed", stdout=said)
            self.assertIn(expected, said.getvalue())
        self.assertEqual(Entry.objects.count(), 3)
