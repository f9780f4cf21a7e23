"""One throw-away PostgreSQL server for a whole test run, shared by all xdist workers.

The process that started pytest creates an empty folder and a watchdog. As soon as that process ends, in any way, the
watchdog removes the folder and ends the server in it. The first test that needs a server creates it there. The folder
is in memory if there is enough, because the server copies and removes files for each test.

TASKDB_TEST_PG_BINDIR names the folder of the server programs to test with. By default the tests use the programs that
`taskdb server start` uses.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import gc
import hashlib
import hmac
import json
import os
import random
import secrets
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.fanout.worker_pool import pool
from pulumi_embedded.processes import interpreters, plugins
from taskdb.local.account import Account
from taskdb.local.binaries import Binaries, inspect
from taskdb.local.cluster import ADMIN, HOST, Cluster
from taskdb.local.install import binaries_for_new_server
from taskdb.local.place import Place
from taskdb.local.ports import free_port
from taskdb.local.record import Server
from tests import keys, loaded

if TYPE_CHECKING:
    from tests.collector import Collected

PROJECT = Path(__file__).parent.parent

ALL = os.environ.get("TESTS") == "all"
"""True for `make test-all`: every case, draw and kill runs. Otherwise each test runs a representative selection."""

NO_CLI = "no Pulumi CLI on the PATH"

# `make test` draws the same few each time. `make test-all` draws others, and prints how to repeat them.
hypothesis.settings.register_profile("few", max_examples=10, derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=2000, print_blob=True, deadline=None)
hypothesis.settings.load_profile("thorough" if ALL else "few")

# A test run need not survive a power cut, and no vacuum takes a lock at an arbitrary time.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
}

MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 4 << 30  # bytes, for a handful of workers with some databases each

TEMPLATE = "test_template"
"""An empty database that is copied faster than template0: its catalogs' caches are files already."""

WATCHDOG = """
cat > /dev/null
for file in $(find "$0" -name postmaster.pid); do
    pid=$(head -n 1 "$file" 2> /dev/null) && kill -QUIT "$pid" 2> /dev/null
done
for i in $(seq 100); do
    [ -n "$(find "$0" -name postmaster.pid)" ] || break
    sleep 0.05
done
rm -rf "$0"
"""


LONGEST_FIRST = ("acceptance", "faults", "stack", "postgres", "docs", "unit")
"""The folders of the tests, ordered by the duration of their tests."""

LEFT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the files, and the tests of each, in another order"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.option.shuffle
    return None if seed is None else f"shuffled: --shuffle {seed} repeats this order"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use three workers for two cores: tests wait for locks, servers and processes. Four took longer than three."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection() -> None:
    """Turn the garbage collector off: tests and their imports stay, and searching them for garbage takes seconds."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out(config, items)
    if config.option.shuffle is None:
        # The longest tests must begin first, so that no worker ends with one of them.
        items.sort(key=lambda item: LONGEST_FIRST.index(item.nodeid.split("/")[1]))
    else:
        items[:] = shuffled(items, random.Random(config.option.shuffle))


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked `full` and `few` to `make test-all`, unless a test is selected by its id.

    `few(3)` runs three cases of a test, spread over all of them. `few("a", "b")` runs the cases with these ids, or, if
    no case has such an id, those whose ids contain it.
    """
    if ALL or any("::" in argument for argument in config.args):
        return
    cases: dict[Any, list[pytest.Item]] = {}
    left = {item for item in items if item.get_closest_marker("full")}
    for item in items:
        if item not in left and item.get_closest_marker("few"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    narrowed = bool(config.option.keyword or config.option.markexpr)
    for test, group in cases.items():
        marker = group[0].get_closest_marker("few")
        assert marker is not None
        left |= set(group) - set(_few(test, group, marker.args, narrowed=narrowed))
    config.stash[LEFT] = len(left)
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=list(left))


def shuffled(items: list[pytest.Item], draw: random.Random) -> list[pytest.Item]:
    """Return the tests in a random order. Tests of one file stay together, because they share costly fixtures."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    groups = draw.sample(list(files.values()), len(files))
    return [item for group in groups for item in draw.sample(group, len(group))]


def _few(test: str, cases: list[pytest.Item], wanted: tuple[Any, ...], *, narrowed: bool) -> list[pytest.Item]:
    [first, *_] = wanted
    if isinstance(first, int):
        return [cases[number * len(cases) // first] for number in range(min(first, len(cases)))]
    chosen = []
    for name in wanted:
        matching = [case for case in cases if case.nodeid.endswith(f"[{name}]")]
        matching = matching or [case for case in cases if name in case.nodeid.partition("[")[2]]
        if not matching and not narrowed:
            raise pytest.UsageError(f"{test}: no case of it is called {name}")
        chosen += matching
    return chosen


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash.get(LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Each worker leaves out the same tests.
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print why tests were skipped, how many were left out, and how many faults were tried."""
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.getreports("skipped"))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason}")
    if left := config.stash.get(LEFT, 0):
        terminalreporter.write_line(f"{left} not run: make test-all runs them")
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [dict(report.user_properties) for report in ended if report.when == "call"]
    if any("faults tried" in each for each in told):
        tried, survived = (sum(each.get(f"faults {what}", 0) for each in told) for what in ("tried", "survived"))
        terminalreporter.write_line(f"faults: {tried} tried, {survived} survived")


RUN_FOLDER = pytest.StashKey[Path]()
WATCHDOG_PROCESS = pytest.StashKey[subprocess.Popen[bytes]]()


@dataclass(frozen=True)
class ThrowawayCluster:
    """A running cluster of this test run and its admin's login."""

    cluster: Cluster
    server: Server


@dataclass(frozen=True)
class Database:
    """A fresh database on the run's server. `parameters` are keyword arguments for `psycopg.connect`."""

    server: Server
    name: str

    @property
    def parameters(self) -> dict[str, Any]:
        """host, port, user, password and dbname of the admin."""
        return {
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.username,
            "password": self.server.password,
            "dbname": self.name,
        }

    def connect(self, **changes: Any) -> psycopg.Connection:
        """Open an autocommit connection as the admin, with these changes (user, password …)."""
        return psycopg.connect(**(self.parameters | {"autocommit": True} | changes))


def create_cluster(parent: Path, binaries: Binaries, settings: dict[str, str] | None = None) -> ThrowawayCluster:
    """Create and start a cluster in a new folder of the run. It ends with the run."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=parent))
    folder.chmod(0o755)
    cluster = Cluster(folder, binaries, Account.for_new_server())
    server = Server(HOST, free_port(), ADMIN, secrets.token_hex(18))
    cluster.create(server.password, SETTINGS | (settings or {}))
    cluster.start(server.port)
    with Database(server, "postgres").connect() as admin:
        admin.execute(f"ALTER ROLE {ADMIN} PASSWORD '{verifier(server.password)}'")
    return ThrowawayCluster(cluster, server)


def memory_is_roomy() -> bool:
    """Return whether a test run can have its files in memory, including programs."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return False
    found = os.statvfs(MEMORY)
    return found.f_bavail * found.f_frsize > MEMORY_NEEDED and not found.f_flag & os.ST_NOEXEC


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[RUN_FOLDER] = Path(config.workerinput["run_folder"])
        return
    # The user that runs root's servers cannot enter pytest's own temporary folder.
    folder = Path(tempfile.mkdtemp(prefix="taskdb-tests-", dir=MEMORY if memory_is_roomy() else None))
    folder.chmod(0o755)
    config.stash[RUN_FOLDER] = folder
    config.stash[WATCHDOG_PROCESS] = subprocess.Popen(
        ["sh", "-c", WATCHDOG, folder], stdin=subprocess.PIPE, start_new_session=True
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["run_folder"] = str(node.config.stash[RUN_FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    watchdog = config.stash.get(WATCHDOG_PROCESS, None)
    if watchdog:
        watchdog.communicate()


@pytest.fixture(scope="session")
def run_folder(pytestconfig: pytest.Config) -> Path:
    """The folder of this test run, the same in all workers, open to a server's user, and removed at the end."""
    return pytestconfig.stash[RUN_FOLDER]


@pytest.fixture(scope="session", autouse=not ALL)
def forks(run_folder: Path) -> Iterator[None]:
    """Run the commands of tests, and what engines and worker pools start, as forks of one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(loaded.SOCKET, str(run_folder / "loaded.socket"))
        for module in (interpreters, plugins):
            patch.setattr(module, "start", loaded.start)
        patch.setattr(pool, "subprocess", loaded.Helpers)
        for deriving in keys.MODULES:
            patch.setattr(deriving, "PBKDF2HMAC", keys.remembered(run_folder))
        yield


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each command of the test as its own process."""
    monkeypatch.delenv(loaded.SOCKET, raising=False)


@pytest.fixture
def open_folder(run_folder: Path) -> Path:
    """A new folder for this test that a server's user can enter, unlike `tmp_path`."""
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=run_folder))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The server programs under test."""
    folder = os.environ.get("TASKDB_TEST_PG_BINDIR")
    if not folder:
        with Place.of(PROJECT).locked():
            return binaries_for_new_server(Place.of(PROJECT), print)
    found = inspect(Path(folder), Account.for_new_server())
    if found is None:
        pytest.fail(f"TASKDB_TEST_PG_BINDIR={folder}: no PostgreSQL server programs to run there", pytrace=False)
    return found


@pytest.fixture(scope="session")
def server(run_folder: Path, binaries: Binaries) -> Server:
    """The run's server. The first worker starts it, and the others wait for it."""
    remembered = run_folder / "shared.json"
    with (run_folder / "shared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not remembered.exists():
            created = create_cluster(run_folder, binaries).server
            with Database(created, "postgres").connect() as admin:
                create_database(admin, TEMPLATE, "template0")
            Database(created, TEMPLATE).connect().close()
            remembered.touch(mode=0o600)
            remembered.write_text(json.dumps(asdict(created)))
        return Server(**json.loads(remembered.read_text()))


def verifier(password: str) -> str:
    """Return PostgreSQL's verifier of a password (RFC 5803), after one round of hashing, so that logins are fast.

    The driver of the real postgresql plugin refuses so few rounds.
    """
    salt = secrets.token_bytes(16)
    rounds = 4096 if shutil.which("pulumi-resource-postgresql") else 1
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))
    text = [base64.b64encode(part).decode() for part in parts]
    return f"SCRAM-SHA-256${rounds}:{text[0]}${text[1]}:{text[2]}"


@pytest.fixture(scope="session")
def admin_session(server: Server) -> Iterator[psycopg.Connection]:
    """A session as the admin for this worker, in the maintenance database."""
    with Database(server, "postgres").connect() as session:
        yield session


def create_database(admin: psycopg.Connection, name: str, template: str = TEMPLATE) -> None:
    """Copy a database file by file, as all versions can. So the caches are copied too."""
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    by_file = sql.SQL(" STRATEGY file_copy" if admin.info.server_version >= 150000 else "")
    admin.execute(create + by_file)


@pytest.fixture
def make_cluster(run_folder: Path, binaries: Binaries) -> Iterator[Callable[..., ThrowawayCluster]]:
    """Yield a function that creates and starts a cluster: `make_cluster()`, `make_cluster({"work_mem": "1MB"})`."""
    made: list[ThrowawayCluster] = []

    def make(settings: dict[str, str] | None = None) -> ThrowawayCluster:
        made.append(create_cluster(run_folder, binaries, settings))
        return made[-1]

    yield make
    for one in made:
        one.cluster.stop()


def drop_database(database: Database) -> None:
    """Drop a database and the roles that are named after it, as `drop` does."""
    with Database(database.server, "postgres").connect() as admin:
        drop(admin, database.name)


def drop(admin: psycopg.Connection, name: str) -> None:
    """Drop the database, then the roles whose names begin with its name and an underscore.

    The admin's sessions there are ended. The drop waits for sessions of other roles, because the admin must not end
    them.
    """
    statement = sql.SQL("DROP DATABASE {}").format(sql.Identifier(name))
    try:
        admin.execute(statement + sql.SQL(" WITH (FORCE)"))
    except psycopg.errors.InsufficientPrivilege:
        # PostgreSQL waits five seconds for a session whose client has just disconnected.
        admin.execute(statement)
    roles = admin.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [f"{name}_"]).fetchall()
    if roles:
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.SQL(", ").join(sql.Identifier(role) for (role,) in roles)))


@pytest.fixture
def make_database(server: Server, admin_session: psycopg.Connection) -> Iterator[Callable[[], Database]]:
    """Yield a function that creates an empty database of the admin.

    All are dropped after the test, with their roles.
    """
    made: list[Database] = []

    def make() -> Database:
        made.append(Database(server, f"test_{secrets.token_hex(6)}"))
        create_database(admin_session, made[-1].name)
        return made[-1]

    yield make
    for one in made:
        drop(admin_session, one.name)


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Database:
    """A fresh, empty database of the admin, dropped after the test."""
    return make_database()


@pytest.fixture(scope="session")
def major(server: Server) -> int:
    """The major version of the run's server."""
    with Database(server, "postgres").connect() as admin:
        return int(admin.info.server_version // 10000)


@pytest.fixture(scope="session")
def resources(major: int) -> int:
    """The number of resources of a new stack. Before PostgreSQL 15 a superuser has the rights on the schema public."""
    return 42 if major >= 15 else 41


@pytest.fixture(scope="session")
def event_loop() -> None:
    """Set the event loop of Pulumi's mocks (SDK 3.272), which Python creates by itself only up to 3.13."""
    asyncio.set_event_loop(asyncio.new_event_loop())


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The library as in a new process, without any OpenTelemetry variable."""
    from tests.collector import forget

    for name in [*os.environ]:
        if name.startswith("OTEL_") or name in ("TRACEPARENT", "TRACESTATE"):
            monkeypatch.delenv(name)
    forget()
    yield monkeypatch
    forget()


@pytest.fixture
def collected(untraced: pytest.MonkeyPatch) -> Iterator[Collected]:
    """A collector that receives spans and metrics of this process."""
    from tests.collector import collector

    with collector() as collected:
        for name, value in collected.environment.items():
            untraced.setenv(name, value)
        yield collected
