"""The other side of the demo's two connections: an SFTP server and a OneRoster API on loopback.

They let a fresh machine show fetching for real, without anybody's server. Nothing of the portal's own work imports this
room; `manage.py demo_servers` runs it and `manage.py make_demo_connections` leads two connections to it.
"""

from typing import Final

#: Where in the SFTP server's folder the deliveries of the demo's first district lie.
DELIVERY_FOLDER: Final = "imagine/1001-cedar-grove/literacy"
