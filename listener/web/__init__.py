"""Probes, metrics, status and actions over HTTP, for Kubernetes, Prometheus, programs and people."""
