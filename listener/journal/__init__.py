"""The durable store: `sqlite` for one machine."""
