"""What happens is told: to tools that asked for it, by webhooks, signed, sent again until they arrive, kept for replay;
and to our staff, by mail."""
