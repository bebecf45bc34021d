"""Texts through sessions, and what comes of them."""
