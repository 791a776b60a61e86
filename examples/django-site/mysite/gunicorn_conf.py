"""How gunicorn serves the site; whatever its command line says goes before this."""

import os

workers = int(os.environ.get("WEB_CONCURRENCY", 2))
accesslog = "-"

# Loaded once and then forked, so that all workers share a SECRET_KEY made at the start.
preload_app = True

# gunicorn 25 and later keep a socket in the home directory, which a service need not have.
control_socket_disable = True
