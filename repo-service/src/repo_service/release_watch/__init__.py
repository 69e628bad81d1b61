"""Releases of the repositories that somebody is told of: asked for in the background, each told once."""
