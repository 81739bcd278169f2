"""The `webhook` sink: CloudEvents over HTTP, signed after Standard Webhooks; each chat's events in order."""

from listener.sinks.webhook.sink import KIND, WebhookSink

__all__ = ["KIND", "WebhookSink"]
