"""What any process of ours stands on: metrics, logs, backoff, durable names, the supervisor's protocol."""
