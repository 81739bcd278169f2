"""Destinations, one module a kind; `registry` finds them by entry point."""
