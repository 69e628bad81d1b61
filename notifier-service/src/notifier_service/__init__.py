"""The notifier: takes alerts and delivers what the queue in Postgres holds."""
