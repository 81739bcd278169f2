"""Debian's PgBouncer in front of a PostgreSQL server: a pooler in transaction mode."""

import os
import shutil
import tempfile
from pathlib import Path

from support.broker import Broker, free_port
from support.postgresserver import PostgresServer, as_account
from support.tools import need

_SERVER_CONNECTIONS = 6


class PgBouncer(Broker):
    """On a free port of the loopback; it has fewer connections to the server than its clients have to it."""

    def __init__(self, server: PostgresServer) -> None:
        program = need("pgbouncer", package="pgbouncer")
        folder, port = Path(tempfile.mkdtemp(prefix="pgbouncer-")), free_port()
        self.folder = folder
        (folder / "users.txt").write_text('"admin" ""\n', encoding="utf-8")
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={server.port} dbname=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder}/users.txt\n"
            f"pool_mode = transaction\ndefault_pool_size = {_SERVER_CONNECTIONS}\nmax_client_conn = 500\n",
            encoding="utf-8",
        )
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        super().__init__([*as_account(), program, config], folder=folder, port=port, ready="process up: PgBouncer")

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        shutil.rmtree(self.folder)
