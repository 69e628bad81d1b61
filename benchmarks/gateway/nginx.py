"""The nginx that is measured beside us: one worker, a cache at one port, a plain proxy at another."""

import getpass
from pathlib import Path

_CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_temp_path {folder}/proxy;
    proxy_cache_path {folder}/cache keys_zone=answers:10m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    upstream service {{
        server 127.0.0.1:{upstream_port};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{cache_port};
        proxy_cache answers;
        proxy_cache_lock on;
        location / {{ proxy_pass http://service; }}
    }}
    server {{
        listen 127.0.0.1:{proxy_port};
        location / {{ proxy_pass http://service; }}
    }}
}}
"""


def write_configuration(folder: Path, *, upstream_port: int, cache_port: int, proxy_port: int) -> Path:
    """The configuration's file; everything that nginx writes goes into the folder."""
    # As root it would give its workers to a user who cannot enter a temporary folder.
    user = "user root;" if getpass.getuser() == "root" else ""
    path = folder / "nginx.conf"
    path.write_text(
        _CONFIGURATION.format(
            user=user, folder=folder, upstream_port=upstream_port, cache_port=cache_port, proxy_port=proxy_port
        )
    )
    return path
