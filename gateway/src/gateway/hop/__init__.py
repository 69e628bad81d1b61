"""The hop from the gateway to one service: which replica, over which connection, and what its answer may look like."""
