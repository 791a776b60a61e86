from django.db import models


class Entry(models.Model):
    """What one visitor wrote."""

    name = models.CharField(max_length=60)
    message = models.TextField(max_length=500)
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-written_at", "-pk"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.name}: {self.message[:40]}"
