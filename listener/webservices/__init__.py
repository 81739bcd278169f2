"""Genesys Web Services: the REST client, and the decoding of chat notifications."""
