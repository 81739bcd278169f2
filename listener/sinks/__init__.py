"""Destinations: one module or package per kind; `registry` finds them by entry point."""
