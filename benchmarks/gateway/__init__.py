"""Measures the gateway beside nginx, Flask and aiohttp: on one core, in one run, taking turns."""
