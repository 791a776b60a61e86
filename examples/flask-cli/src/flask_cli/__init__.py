"""A click command line around a small Flask site, with requests to look at it."""
