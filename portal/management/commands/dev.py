"""The whole portal with one command, for a laptop: database, demo with its servers, login, web and workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from portal import cluster
from portal.local_secrets import local_secret

ADMIN = "admin"
GRACE = 5.0


class Command(BaseCommand):
    help = (
        "Run the portal on this machine. The first start makes the database, a demo and a login; later ones keep them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-demo", dest="demo", action="store_false", help="start with an empty portal")

    def handle(self, *args: Any, **options: Any) -> None:
        door = self.open_door()
        with contextlib.suppress(PermissionError):  # a folder that was given to us stays as it is
            settings.PORTAL_DATA_DIR.chmod(0o700)
        call_command("migrate", verbosity=0)
        password = self.make_login()
        if options["demo"]:
            call_command("make_demo")
            call_command("make_demo_connections")
            call_command("make_demo_client")
        asked = cluster.StopRequest()
        beside = self.start_demo_servers() if options["demo"] else []
        web, worker = self.start_web(door), self.start_worker()
        self.stdout.write(
            f"\nThe portal runs at http://localhost:{settings.PORT}/\nLog in as {ADMIN}, {password}."
            f"\nIts data are in {settings.PORTAL_DATA_DIR}. Ctrl-C stops it.\n"
        )
        self.stdout.flush()
        while not asked and web.poll() is None and worker.poll() is None:
            time.sleep(0.2)
        ended = [name for name, process in (("web", web), ("worker", worker)) if process.poll() is not None]
        for process in (worker, web, *beside):
            process.terminate()
        for process in (web, *beside):
            cluster.stop(process, grace=GRACE)
        cluster.stop(worker, grace=GRACE + 2)
        if ended:
            self.stderr.write(f"Stopped, because the {' and the '.join(ended)} process ended.")
            sys.exit(1)
        self.stdout.write("Stopped.")

    def open_door(self) -> socket.socket:
        """The listening socket, opened before anything else, so that a taken port changes nothing."""
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", settings.PORT))
            door.listen(128)
        except OSError as error:
            self.stderr.write(
                f"Port {settings.PORT} cannot be used ({error.strerror}). Choose another one, for example:"
                f" PORT={settings.PORT + 1} make run"
            )
            sys.exit(2)
        return door

    def make_login(self) -> str:
        """Make the administrator on the first start; says the password, as long as nobody has changed it."""
        password = local_secret(settings.PORTAL_DATA_DIR, "admin-password", size=12)
        person = User.objects.filter(username=ADMIN).first()
        if person is None:
            User.objects.create_superuser(ADMIN, password=password)
        elif not person.check_password(password):
            return "with the password that was set in the portal"
        return f"password {password}"

    def start_web(self, door: socket.socket) -> subprocess.Popen[bytes]:
        return cluster.start(
            [
                sys.executable, "-m", "gunicorn", "portal.wsgi", "--bind", f"fd://{door.fileno()}",
                "--worker-class", "gthread", "--threads", "8", "--timeout", "120",
                "--graceful-timeout", str(int(GRACE)), "--no-control-socket", "--log-level", "warning",
            ],
            when_we_die=signal.SIGTERM, pass_fds=[door.fileno()], cwd=settings.BASE_DIR,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"},
        )  # fmt: skip

    def start_worker(self) -> subprocess.Popen[bytes]:
        return cluster.start(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster", "--grace", str(GRACE)],
            when_we_die=signal.SIGTERM,
        )

    def start_demo_servers(self) -> list[subprocess.Popen[bytes]]:
        """What the demo's connections lead to, if there are any. The portal does without it if it ends."""
        if not (settings.PORTAL_DATA_DIR / "demo" / "servers.json").exists():
            return []
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo_servers"]
        return [cluster.start(command, when_we_die=signal.SIGTERM)]
