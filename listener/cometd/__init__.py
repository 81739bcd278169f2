"""The CometD session: Bayeux 1.0 as a sans-I/O core, on aiocometd's public Client and Transport."""
