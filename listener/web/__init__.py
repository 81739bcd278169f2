"""Health, metrics and status over HTTP, for probes, Prometheus and people."""
