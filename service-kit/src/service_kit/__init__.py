"""What every WeGit service shares; knows nothing of GitHub."""
