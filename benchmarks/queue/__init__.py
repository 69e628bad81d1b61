"""Measures the queue beside pgqueuer, procrastinate and graphile-worker: on one durable Postgres, taking turns."""
