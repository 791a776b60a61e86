"""A command that renders one page of a small Flask site."""
