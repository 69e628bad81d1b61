"""The command line `notifier`: what operators see of the queue and do to it. It asks Postgres, not the service."""
