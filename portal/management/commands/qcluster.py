"""django-q2's own command, made safe against sudden deaths: see `portal.cluster`."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_q.cluster import Cluster
from django_q.models import Schedule
from django_q.tasks import async_task

from portal import cluster

RECOVER = "rosters.tasks.recover"
TIDY = "rosters.tasks.tidy"
MINUTE = "connections.tasks.minute"
MAILS = "portal.mails.sweep"


class Command(BaseCommand):
    help = "Start the workers: a supervisor, and under it a django-q2 cluster that is started again if it dies."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("-n", "--name", help="serve the queue of this name instead of the default one")
        parser.add_argument("--run-once", action="store_true", help="start the cluster and stop it at once")
        parser.add_argument(
            "--grace", type=float, default=60, help="seconds that running work has to end once asked to stop (60)"
        )
        parser.add_argument("--unsupervised", action="store_true", help="the cluster alone, without its supervisor")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["name"]:
            os.environ["Q_CLUSTER_NAME"] = options["name"]
        if options["unsupervised"] or options["run_once"]:
            self.run_cluster(once=options["run_once"])
        else:
            cluster.supervise(
                [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster", "--unsupervised"],
                grace=options["grace"],
            )

    def run_cluster(self, *, once: bool) -> None:
        """Run until asked to stop. Raises CommandError when the cluster ends without having been asked."""
        cluster.install()
        look_after_lost_work()
        workers = Cluster()
        workers.start()
        if once:
            workers.stop()
        workers.sentinel.join()
        if not workers.has_stopped:
            raise CommandError("The cluster's guardian died.")


def look_after_lost_work() -> None:
    """Have syncs that lost their worker looked after: now, since we may follow one that died, and every minute; what
    such workers left on the disk, and mails that are of no more use, every day; and have connections started when they
    are due."""
    Schedule.objects.update_or_create(
        name="recover", defaults={"func": RECOVER, "schedule_type": Schedule.MINUTES, "minutes": 1}
    )
    Schedule.objects.update_or_create(
        name="minute", defaults={"func": MINUTE, "schedule_type": Schedule.MINUTES, "minutes": 1}
    )
    Schedule.objects.update_or_create(name="tidy", defaults={"func": TIDY, "schedule_type": Schedule.DAILY})
    Schedule.objects.update_or_create(name="mails", defaults={"func": MAILS, "schedule_type": Schedule.DAILY})
    async_task(RECOVER)
