"""What runs WeGit on one machine without Docker: environment, settings file, Postgres, supervisor, imitation GitHub."""
