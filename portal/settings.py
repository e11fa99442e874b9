"""Settings, in Django's own order; then those of the libraries; then the portal's own.

Everything that differs between machines comes from the environment. A local run needs none of it: its secrets are
made once and kept in the data folder (`portal.local_secrets`). Production sets PORTAL_PRODUCTION=1 and must bring
its own; `portal.checks` says what is missing.
"""

from ipaddress import ip_network
from pathlib import Path

import environ
from csp.constants import NONE, SELF

from portal.local_secrets import local_secret

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

PORTAL_PRODUCTION = env.bool("PORTAL_PRODUCTION", default=False)
PORTAL_DATA_DIR = Path(env.str("PORTAL_DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
PORT = env.int("PORT", default=8000)

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or (
    "" if PORTAL_PRODUCTION else local_secret(PORTAL_DATA_DIR, "secret-key")
)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PORTAL_PRODUCTION else ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "portal.apps.PortalConfig",
    "portal.apps.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_q",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "rosters.apps.RostersConfig",
    "rosters.api.apps.ApiConfig",
    "connections.apps.ConnectionsConfig",
    "connections.onboarding.apps.OnboardingConfig",
    "connections.announcing.apps.AnnouncingConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "portal.impossible.Impossible",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "portal.sessions.awake",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.zones.reader_zone",
    "portal.second_factor.before_anything_else",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{PORTAL_DATA_DIR / 'portal.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # One writer at a time: an import must not make a login fail, so writers queue up (IMMEDIATE, long timeout) and
    # readers never wait (WAL).
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 60,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;",
    }
    # A file, as in real life: tests start workers and browsers, and memory cannot be shared with those.
    DATABASES["default"]["TEST"] = {"NAME": str(PORTAL_DATA_DIR / "test.sqlite3")}
else:
    DATABASES["default"].setdefault("CONN_MAX_AGE", 60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Shared by all processes of a machine: the workers tell the pages through it that they are alive. Not in the database,
# where an import on SQLite would block it. Several machines share one through CACHE_URL.
# Django's own 300 entries would be forgotten among the tools that page through rosters (`rosters.api.provider`).
# Which sessions of staff have ended is kept apart from them (`portal.sessions`): it must never be forgotten for room.
# So are failed logins (`portal.logins`), of which strangers can make as many as they like: they crowd nothing else out.
CACHES = {
    "default": env.cache_url("CACHE_URL", default=f"filecache://{PORTAL_DATA_DIR / 'cache'}?max_entries=5000"),
    "sessions": env.cache_url("CACHE_URL", default=f"filecache://{PORTAL_DATA_DIR / 'sessions'}?max_entries=100000"),
    "logins": env.cache_url("CACHE_URL", default=f"filecache://{PORTAL_DATA_DIR / 'logins'}?max_entries=100000"),
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = ["portal.formats"]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(PORTAL_DATA_DIR / "static"))).resolve()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PORTAL_PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not PORTAL_PRODUCTION

# An upload is spooled to disk by Django and then streamed into the store; it is never held in memory. What nobody asked
# for is not even spooled.
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_HANDLERS = ["portal.uploads.Gate", "django.core.files.uploadhandler.TemporaryFileUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# An import on SQLite holds the only write lock; sessions in cookies let people log in and look meanwhile.
SESSION_ENGINE = "portal.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 60 * 60
#: A session ends before that when nobody has asked for anything for so long.
SESSION_IDLE_MINUTES = env.int("SESSION_IDLE_MINUTES", default=120)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = PORTAL_PRODUCTION
SECURE_HSTS_SECONDS = 31_536_000 if PORTAL_PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PORTAL_PRODUCTION
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# Mails go into files of the data folder, unless a server for them is named: EMAIL_URL=smtp+tls://user:password@host:587
# Not to the log: some carry a link that lets a person in.
vars().update(env.email_url("EMAIL_URL", default="filemail://"))
EMAIL_FILE_PATH = PORTAL_DATA_DIR / "mails"
EMAIL_TIMEOUT = 20  # seconds: a mail server that hangs holds up no page and no minute
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="roster-portal@localhost")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "filters": {"without_ids": {"()": "portal.logs.WithoutIds"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"django.request": {"filters": ["without_ids"]}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}

# --- libraries

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

#: Whether all staff log in with a code of an app as well; who has set one up needs it in any case.
SECOND_FACTOR_REQUIRED = env.bool("SECOND_FACTOR_REQUIRED", default=PORTAL_PRODUCTION)

WORKERS = env.int("WORKERS", default=3)
#: So many deliveries are fetched at once: one fewer than there are workers, or districts whose servers are slow would
#: keep everybody's imports and approvals waiting. With several clusters, one fewer than all of them have.
FETCHES_AT_ONCE = env.int("FETCHES_AT_ONCE", default=max(1, WORKERS - 1))

# The sync row is the truth, a task is only "look at sync N": so no retries of the queue's own (they run in parallel
# with a slow first try and never end), and acknowledge whatever happens. `timeout` is the longest import we expect.
Q_CLUSTER = {
    "name": "portal",
    "orm": "default",
    "workers": WORKERS,
    "queue_limit": 2,
    "bulk": 1,
    "poll": 1,
    "timeout": 3600,
    "retry": 4 * 3600 + 60,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "recycle": 20,
    "save_limit": 250,
    "time_zone": "UTC",
    "label": "Background work",
}

REST_FRAMEWORK = {
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "URL_FORMAT_OVERRIDE": None,  # the Accept header says it
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Roster portal",
    "DESCRIPTION": "Rosters in OneRoster 1.1 and 1.2, and what happens to them: deliveries, syncs, decisions.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAdminUser"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "docExpansion": "none", "validatorUrl": None},
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "SyncStatus": "rosters.models.Sync.Status",
        "AttemptStatus": "connections.models.Attempt.Status",
        "ConnectionKind": "connections.models.Connection.Kind",
        "ChangeKind": ["added", "updated", "removed"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "rosters.api.describing.with_refusals",
    ],
}

# --- the portal's own

#: Where people reach the portal, for links in mails; without a slash at its end.
PORTAL_URL = env.str("PORTAL_URL", default=f"http://localhost:{PORT}").rstrip("/")
#: Encrypts what is secret at rest: connections' credentials (`rosters.sealing`). URL-safe base64 of 32 bytes.
PORTAL_ENCRYPTION_KEY = env.str("PORTAL_ENCRYPTION_KEY", default="") or (
    "" if PORTAL_PRODUCTION else local_secret(PORTAL_DATA_DIR, "encryption-key")
)
#: Keys that were used before, separated by commas: they only open what they sealed. `manage.py rotate_encryption_key`.
PORTAL_FORMER_ENCRYPTION_KEYS = env.list("PORTAL_FORMER_ENCRYPTION_KEYS", default=[])
#: How long an applied sync can be undone.
UNDO_DAYS = env.int("UNDO_DAYS", default=90)
#: How long originals, differences, places of findings and earlier versions are kept; a district may ask for less.
KEEP_HISTORY_DAYS = env.int("KEEP_HISTORY_DAYS", default=400)
#: How long records are kept that left the live roster; a district may ask for less.
KEEP_LEFT_DAYS = env.int("KEEP_LEFT_DAYS", default=90)
#: Largest file that a browser may upload, in bytes.
UPLOAD_LIMIT = env.int("UPLOAD_LIMIT", default=1024 * 1024 * 1024)
#: Where our own SFTP server keeps what districts drop: a folder each, named by site code (docs/sftp-server.md).
PORTAL_DROP_DIR = Path(env.str("PORTAL_DROP_DIR", default=str(PORTAL_DATA_DIR / "drop"))).resolve()
#: Private networks in which tools may be that are told by webhook, separated by commas: 10.20.0.0/16.
WEBHOOK_NETWORKS = [ip_network(each) for each in env.list("WEBHOOK_NETWORKS", default=[])]
#: Seconds between two looks at a file on an SFTP server: one that grows meanwhile is still being written.
PORTAL_SFTP_WAIT = env.float("PORTAL_SFTP_WAIT", default=20)
#: Where the servers of the demo's connections listen, on loopback; any free port where these are taken.
DEMO_SFTP_PORT = env.int("DEMO_SFTP_PORT", default=PORT + 1001)
DEMO_API_PORT = env.int("DEMO_API_PORT", default=PORT + 1002)
#: Tests want a bug to be loud; in service it becomes the state of its sync.
RAISE_FAULTS = env.bool("RAISE_FAULTS", default=False)
