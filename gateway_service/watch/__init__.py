"""Following tasks live."""
