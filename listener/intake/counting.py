"""Counts what a batch has brought."""

from collections import Counter

from listener.cometd.facts import Batch
from listener.runtime.metrics import Metrics
from listener.webservices.notifications import DecodedBatch


def count_batch(metrics: Metrics, batch: Batch, decoded: DecodedBatch) -> Counter[str]:
    """One step for all of a batch, so that received = forwarded + filtered + refused at every moment.

    Returns what was refused, by reason: of the batch and of its payloads.
    """
    count = metrics.count
    refused = Counter(batch.refused) + decoded.refused if batch.refused else decoded.refused
    count("batches_total")
    count("notifications_received_total", len(batch.payloads) + sum(batch.refused.values()))
    count("notifications_forwarded_total", decoded.forwarded)
    for reason, amount in decoded.filtered.items():
        count("notifications_filtered_total", amount, reason)
    for reason, amount in refused.items():
        count("notifications_refused_total", amount, reason)
    for field, amount in decoded.malformed.items():
        count("fields_malformed_total", amount, field)
    if batch.repeated:
        count("batches_repeated_total")
    return refused
