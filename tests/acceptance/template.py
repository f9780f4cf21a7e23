"""A deployed stack in a second: a copy of one that this run deployed once.

The copy is complete: the project's folder with the state, and the server's stopped data. So it has the roles, the
default privileges and the passwords of the template. Only the port is its own, in the state too.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from taskdb.local.account import Account
from taskdb.local.binaries import Binaries
from taskdb.local.cluster import Cluster
from taskdb.local.ports import free_port
from taskdb.local.record import Server
from tests.acceptance.project import PASSPHRASE, Outcome, Project, environment_of, new_project
from tests.acceptance.states import moved
from tests.conftest import create_cluster


@dataclass(frozen=True)
class Template:
    """A stack whose server is stopped. `home` has its files, and `said` is the output of its first update."""

    home: Path
    binaries: Binaries
    engine: str
    stack: str
    server: Server
    said: str

    @classmethod
    def of(cls, run_folder: Path, binaries: Binaries, engine: str) -> Template:
        """Return the run's template for this engine. The first worker creates it, and the others wait for it."""
        home = run_folder / f"template-{engine}"
        remembered = home / "template.json"
        with (run_folder / f"template-{engine}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not remembered.exists():
                made = create_cluster(run_folder, binaries)
                home.mkdir()
                project = new_project(home / "project", engine, made.server)
                said = project.up().text
                made.cluster.stop()
                made.cluster.folder.rename(home / "cluster")
                found = {"stack": project.stack, "server": asdict(made.server), "said": said}
                remembered.touch(mode=0o600)
                remembered.write_text(json.dumps(found))
            found = json.loads(remembered.read_text())
        return cls(home, binaries, engine, found["stack"], Server(**found["server"]), found["said"])

    @contextmanager
    def copied(self) -> Iterator[Project]:
        """Copy the stack with its own server, which is deleted with it."""
        folder = Path(tempfile.mkdtemp(prefix="stack-", dir=self.home.parent))
        folder.chmod(0o755)
        # shutil would give the server's files to the user that copies them.
        subprocess.run(["cp", "-Rp", self.home / "cluster", self.home / "project", folder], check=True)
        cluster = Cluster(folder / "cluster", self.binaries, Account.for_new_server())
        server = replace(self.server, port=free_port())
        environment = environment_of(server, folder / "project")
        printed = [Outcome(0, self.said, "")]
        project = Project(folder / "project", self.stack, self.engine, environment, printed)
        project.state.write_text(moved(project.state.read_text(), PASSPHRASE, self.server.port, server.port))
        cluster.start(server.port)
        try:
            yield project
        finally:
            cluster.stop()
            shutil.rmtree(folder)
