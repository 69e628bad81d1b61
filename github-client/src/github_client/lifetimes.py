"""How long an answer may be reused, in seconds, by kind of resource. GitHub itself says 60 for its core resources."""

TRENDING = 300
LANGUAGES = 3600
REPOSITORY = 60
README = 300
DEVELOPER = 60
EVENTS = 60
SEARCH = 60
