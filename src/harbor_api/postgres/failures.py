"""What a failure of PostgreSQL means, in words for operators; callers of the API are never told.

A failed connection has no SQLSTATE: libpq passes on a text, in English unless the server was set up in
another language. What is not recognised is told in the server's own words.

Nothing here repeats what was sent in a statement. Of PostgreSQL's messages the details, contexts and hints
quote values, and so do the messages themselves where a value is what was wrong: they are left out. What is
left names tables, constraints, users, databases and hosts.
"""

import re

import psycopg

FULL = (
    "PostgreSQL has no connection left: raise its max_connections, or lower HARBOR_WORKERS or "
    "HARBOR_DATABASE_POOL"
)
POOL_IN_USE = "all connections that HARBOR_DATABASE_POOL allows were in use for HARBOR_DATABASE_TIMEOUT_MS"
# By SQLSTATE, for what goes wrong once there is a connection.
_BY_STATE = {
    "25006": "the database takes no changes: it is a standby, or set to read only; name the primary",
    "42501": "the user {user} lacks a right: {message}; grant it, or use the role that owns the tables",
    "53100": "PostgreSQL's disk is full",
    "53200": "PostgreSQL has run out of memory",
    "53300": FULL,
    "55P03": "somebody holds a lock for too long, such as a migration or a backup; try again",
    "57014": "PostgreSQL did not finish a statement within HARBOR_DATABASE_TIMEOUT_MS",
    "57P01": "PostgreSQL was told to stop, or an administrator ended the connection",
    "HB001": "the database was restored, or another server took over: this is known from now on, do it again",
    "57P03": "PostgreSQL is starting up, shutting down or in recovery: wait for it",
}
# By text, for connections that are refused; the first that fits holds. {0} is what is captured of the text.
_BY_TEXT = {
    r'authentication failed for user "([^"]*)"': "PostgreSQL refuses the password of the user {0}: see "
    "HARBOR_DATABASE_URL, in which characters such as / @ : % are written %2F %40 %3A %25",
    r"no password supplied": "PostgreSQL asks for a password and HARBOR_DATABASE_URL has none",
    r'role "([^"]*)" does not exist': "PostgreSQL knows no user {0}: see HARBOR_DATABASE_URL",
    r'role "([^"]*)" is not permitted to log in': "the user {0} may not log in: ALTER ROLE ... LOGIN",
    r'database "([^"]*)" does not exist': "there is no database {0}: create it, or see HARBOR_DATABASE_URL",
    r'permission denied for database "([^"]*)"': "the user {user} may not connect to the database {0}",
    r"(?:failed to resolve host|could not translate host name) ['\"]([^'\"]*)": "there is no host {0}, or no "
    "name service: see HARBOR_DATABASE_URL",
    r"too many connections for|too many clients|remaining connection slots": FULL,
    r"(starting up|shutting down|in recovery mode|not yet accepting connections)": "PostgreSQL is {0}: "
    "wait for it",
    r"does not support SSL|SSL was required": "PostgreSQL does not speak TLS, which the sslmode of "
    "HARBOR_DATABASE_URL demands",
    r"pg_hba.conf (?:entry|rejects)(?!.*\[local\]).*no encryption": "PostgreSQL does not admit the user "
    "{user} from here without TLS: add sslmode=require to HARBOR_DATABASE_URL, or a line to its pg_hba.conf",
    r"no pg_hba.conf entry|pg_hba.conf rejects": "PostgreSQL does not admit the user {user} from here: add a "
    "line to its pg_hba.conf",
    r"certificate|SSL error|SSL SYSCALL|private key file": "TLS with PostgreSQL failed: {message}",
    r"connection refused": "nobody listens at {address}: is PostgreSQL running there? See "
    "HARBOR_DATABASE_URL",
    r"\.s\.PGSQL\.\d+\" failed: No such file": "there is no PostgreSQL at {address}: is it running? See "
    "HARBOR_DATABASE_URL",
    r"permission denied": "the socket of PostgreSQL at {address} may not be opened by whoever runs this",
    r"timeout expired|timed out": "PostgreSQL at {address} does not answer: see "
    "HARBOR_DATABASE_URL, and firewalls",
    r"invalid (?:URI query parameter:|connection option) \"([^\"]*)\"": "HARBOR_DATABASE_URL: libpq knows no "
    "parameter {0}",
    r"invalid (\w+) value": "HARBOR_DATABASE_URL: {0} has a value that libpq does not know",
    r"unsupported startup parameter": "HARBOR_DATABASE_URL leads to a PgBouncer: set "
    "HARBOR_DATABASE_POOLER=transaction",
    r"the role lacks what connections of the service need": "the role {user} lacks what connections of the "
    "service need: run harbor-api migrate as it, with HARBOR_DATABASE_POOLER=transaction, then RECONNECT "
    "in PgBouncer",
    r"positions are distributed, which no pooler may stand before": "positions are distributed by Citus: "
    "HARBOR_DATABASE_URL has to lead to the coordinator itself, not to PgBouncer",
    r"no more connections allowed": "PgBouncer has no connection left: raise its max_client_conn, or lower "
    "HARBOR_WORKERS or HARBOR_DATABASE_POOL",
    r"server closed the connection|connection (?:is )?(?:lost|closed)": "PostgreSQL ended the connection",
}
_PATTERNS = {re.compile(pattern, re.IGNORECASE): told for pattern, told in _BY_TEXT.items()}
# The classes of what is wrong with a value, whose messages quote it: data exceptions, and errors that are
# raised by whatever text.
_QUOTING = ("22", "P0")


def cause_of(error: BaseException, *, address: str, user: str) -> str:
    """Return in one line what went wrong with the database at an address."""
    error = original(error)
    text = str(error)
    state = getattr(error, "sqlstate", None)
    message = plain(error)
    if state in _BY_STATE:
        return _BY_STATE[state].format(user=user, message=message)
    if state is None:
        for pattern, told in _PATTERNS.items():
            found = pattern.search(text)
            if found:
                return told.format(*found.groups(), address=address, user=user, message=message)
    return f"PostgreSQL says: {message}"


def is_full(error: BaseException) -> bool:
    """Return whether PostgreSQL has refused a connection because it has too many."""
    return cause_of(error, address="", user="") == FULL


def is_of_the_address(error: BaseException) -> bool:
    """Return whether libpq does not understand the address; psycopg has that among mistakes in statements."""
    return cause_of(error, address="", user="").startswith("HARBOR_DATABASE_URL")


def original(error: BaseException) -> BaseException:
    """Return psycopg's error for one that SQLAlchemy passes on."""
    return getattr(error, "orig", None) or error


def plain(error: BaseException) -> str:
    """Return what an error of the database says, without anything that was sent with a statement."""
    error = original(error)
    if not isinstance(error, psycopg.Error):
        return type(error).__name__
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.DataError):
        # psycopg's own, of a value that has no form in PostgreSQL.
        return type(error).__name__
    if state is None:
        # libpq's own, or the server's while it was connected to: the last line of several attempts.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        found = re.search(r"(?:FATAL|ERROR):\s+(.*)", " ".join(lines))
        return found[1] if found else (lines or [type(error).__name__])[0]
    said = None if state.startswith(_QUOTING) else error.diag.message_primary
    named = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
    return ", ".join(filter(None, (f"{type(error).__name__} ({state})", said, *named)))
