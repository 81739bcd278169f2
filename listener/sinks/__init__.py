"""Destinations, one module or package a kind; `registry` finds them by entry point."""
