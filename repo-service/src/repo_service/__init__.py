"""Trending repositories, languages, and one repository with its README."""
