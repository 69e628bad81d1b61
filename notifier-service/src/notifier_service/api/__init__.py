"""The HTTP API of subscriptions and notifications."""
