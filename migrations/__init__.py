"""The database's structure: numbered SQL files, each with its rollback, and `apply`, which applies them."""
