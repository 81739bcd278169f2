"""What came is what was passed on, filtered or refused."""

from collections import Counter

from listener.cometd.facts import Batch
from listener.intake.counting import count_batch
from listener.runtime.clock import Moment
from listener.runtime.metrics import Metrics
from listener.webservices.notifications import NotificationDecoder
from support.notifications import encoded, notification, with_data


def test_every_payload_of_a_batch_is_counted_once():
    payloads = [encoded(with_data(DispositionCode="A")), encoded(notification(messageType="Other")), b"{", b"[]"]
    decoded = NotificationDecoder(keys=("DispositionCode",)).decode(payloads, account="agent1", received_ms=1)
    batch = Batch(
        payloads=payloads,
        refused={"not_subscribed": 2},
        repeated=1,
        at=Moment(1, 1.0),
        number=1,
        client_id="c1",
        resume=None,
        confirm=lambda **_: None,
    )
    metrics = Metrics()
    refused = count_batch(metrics, batch, decoded)
    assert refused == Counter(not_subscribed=2, malformed_json=1, not_an_object=1)
    assert metrics.value("notifications_received_total") == 6
    assert metrics.value("notifications_forwarded_total") == 1
    assert metrics.value("notifications_filtered_total", "message_type") == 1
    assert metrics.value("notifications_refused_total", "not_subscribed") == 2
    assert metrics.value("batches_total") == metrics.value("batches_repeated_total") == 1
