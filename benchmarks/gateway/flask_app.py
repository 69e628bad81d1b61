"""The shape of the first back end, Flask under gunicorn's sync workers, at its best: it asks nobody for its answer.

It runs in an environment of its own (requirements-flask.txt), with nothing of ours but the body's file.
"""

import os
from pathlib import Path

from flask import Flask, Response

app = Flask(__name__)
BODY = Path(os.environ["BODY"]).read_bytes()


@app.get("/<path:_path>")
def answer(_path: str) -> Response:
    """The same for every path."""
    return Response(BODY, mimetype="application/json")
