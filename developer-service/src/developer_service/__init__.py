"""Trending developers, one developer, and what developers do."""
