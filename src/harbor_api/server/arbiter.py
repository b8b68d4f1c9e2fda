"""gunicorn's arbiter, the process above the workers, with changes so that replacing them costs no request.

    change            what gunicorn does, and what this does instead
    ----------------  ------------------------------------------------------------------------------------
    SIGHUP            It ends the workers as soon as others are begun, which take seconds to load: meanwhile
                      nobody answers. Here those before go on until the new ones take connections.
                      Where a new one cannot start it ends the whole service. Here those before go on.
    SIGUSR2           It starts a second arbiter beside this one, and leaves the rest to whoever sent the
                      signal. Here the second ends the first once its workers take connections; where it
                      cannot start, the first goes on.
    leaving workers   It tells them to end again and again. Here they are told once.
    systemd           It says that it is ready before any worker is. Here it says so after.

A worker that is told to end answers what is under way. The socket that all listen on stays open throughout,
in one process at least, so nobody is refused.
"""

import os
import signal
import time
from typing import Any

from gunicorn import arbiter, sock, systemd
from gunicorn.errors import HaltServer

from harbor_api.server.listening import METRICS_FD

# For how long new workers may load the application before the replacement is given up.
_LOADS_S = 60.0


class Arbiter(arbiter.Arbiter):
    """Begins, watches and replaces workers; ``app`` is a Service."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        # Those that are told to end, or will be once others have taken their place.
        self._leaving: set[int] = set()
        # Until when others are waited for, None where nobody is to be replaced.
        self._replaced_by: float | None = None
        self._is_ready = False

    def start(self) -> None:
        """Begin to listen. What was handed over is among the application's sockets already."""
        self.LISTENERS = sock.create_sockets(self.cfg, self.log)
        address = os.environ.pop("NOTIFY_SOCKET", None)
        super().start()
        if address is not None:
            os.environ["NOTIFY_SOCKET"] = address

    def reload(self) -> None:
        """Begin new workers; those before end once they take connections."""
        self.cfg.on_reload(self)
        self.log.reopen_files()
        self._leaving = {*self.WORKERS}
        self._replaced_by = time.monotonic() + _LOADS_S

    def manage_workers(self) -> None:
        """Begin as many workers as there are to be, and let those go that are too many or replaced."""
        self._leaving &= self.WORKERS.keys()
        while len(self._staying()) < self.num_workers:
            self.spawn_worker()
        self._let_go(self._staying()[: -self.num_workers])
        are_up = all(self.app.board.place(self.WORKERS[pid].age).is_held() for pid in self._staying())
        if self._replaced_by is not None:
            if are_up:
                self._replaced_by = None
                self._let_go(self._leaving)
            elif time.monotonic() > self._replaced_by:
                self._keep_those_before("they take too long to start")
        if are_up and not self._is_ready:
            self._is_ready = True
            self._take_over()
        if self.app.exporting is not None:
            self.app.exporting.keep()

    def reap_workers(self) -> None:
        """Note which workers have ended; HaltServer where one could not start that nobody else stands for."""
        upgrade = self.reexec_pid
        while True:
            staying = {*self._staying()}
            try:
                super().reap_workers()
                break
            except HaltServer as failed:
                if self._replaced_by is not None:
                    self._keep_those_before(failed.reason)
                elif staying - self.WORKERS.keys():
                    raise
        if upgrade and not self.reexec_pid:
            self.log.error("The service that was to take over has ended: this one goes on")

    def reexec(self) -> None:
        """Start another service on the same sockets."""
        if self.app.exporting is not None:
            self.cfg.env_orig[METRICS_FD] = str(self.app.exporting.hand_over())
        super().reexec()

    def stop(self, graceful: bool = True) -> None:
        """End all workers. A socket of systemd's is left where it is."""
        self.systemd = self.app.is_activated
        super().stop(graceful)

    def _staying(self) -> list[int]:
        """Return the workers that are to stay, the oldest first."""
        return sorted(self.WORKERS.keys() - self._leaving, key=lambda pid: int(self.WORKERS[pid].age))

    def _let_go(self, workers: "list[int] | set[int]") -> None:
        for pid in [*workers]:
            self._leaving.add(pid)
            self.kill_worker(pid, signal.SIGTERM)

    def _keep_those_before(self, why: str) -> None:
        self.log.error("The workers are not replaced: %s", why)
        self._replaced_by = None
        new, self._leaving = self._staying(), set()
        self._let_go(new)

    def _take_over(self) -> None:
        """Tell systemd that this is the service now, and the service before it to end."""
        systemd.sd_notify(f"READY=1\nMAINPID={self.pid}\nSTATUS=Takes connections", self.log)
        if self.master_pid and self.master_pid == os.getppid():
            self.log.info("Takes over from process %s", self.master_pid)
            os.kill(self.master_pid, signal.SIGTERM)
