"""What the data services know of GitHub: its REST interface, its trending pages, its languages, its limits."""
