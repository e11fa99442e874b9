"""The portal as a WSGI application, for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

os.umask(0o077)  # as manage.py does; gunicorn's sockets have a mode of their own
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()

from portal.checks import refuse_to_open_if_wrong  # noqa: E402  (needs Django to be set up)

refuse_to_open_if_wrong()
