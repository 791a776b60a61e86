"""A small Django site with the admin, checked by manage's check."""
