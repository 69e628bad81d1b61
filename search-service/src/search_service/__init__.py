"""Search for repositories and developers."""
