"""What happens is told to tools that asked for it: webhooks, signed, sent again until they arrive, kept for replay."""
