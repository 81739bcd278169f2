"""Genesys Web Services: the REST client, and what a chat notification says about dispositions."""
