"""The shared cache (RFC 9111) in front of the services: answers that are the same for everybody, as ready bytes."""
