"""The public door: one route table in front of the services. It has no database and knows nothing of GitHub."""
