"""One page at any path below /p/, behind Flask-Limiter with a moving window, served by waitress.

A line in the log for each request: when its answer was ready and how long that took, in seconds, path, status, Retry-After.

python flask_app.py PORT LIMIT LOG, where LIMIT is such as "100 per 5 seconds".
"""

import os
import pathlib
import sys
import time

import waitress
from flask import Flask, g, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

port, limit, log = sys.argv[1:]
page = pathlib.Path(__file__).with_name("page.html").read_text(encoding="utf-8")
# With O_APPEND one write is one line, whichever thread writes it.
file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

app = Flask(__name__)


# Before the limiter is made, so that this is first on the way in and last on the way out.
@app.before_request
def note_arrival():
    g.arrived_at = time.time()


@app.after_request
def write_log(response):
    ended_at = time.time()
    retry_after = response.headers.get("Retry-After", "-")
    fields = [f"{ended_at:.3f}", f"{ended_at - g.arrived_at:.3f}", request.path, str(response.status_code), retry_after]
    os.write(file, ("\t".join(fields) + "\n").encode())
    return response


limiter = Limiter(
    get_remote_address, app=app, strategy="moving-window", headers_enabled=True, storage_uri="memory://"
)


@app.get("/p/<name>")
@limiter.limit(limit)
def show(name):
    return page


waitress.serve(app, host="127.0.0.1", port=int(port), threads=16)
