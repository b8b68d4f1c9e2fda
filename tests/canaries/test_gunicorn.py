"""gunicorn: what the files of server/ take for granted."""

import errno
import functools
import inspect
import os
import signal
import socket
from types import SimpleNamespace

import gevent
import pytest
from gevent.server import StreamServer
from gunicorn import http, util
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import errors, wsgi
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import SocketUnreader
from gunicorn.http.wsgi import Response, base_environ, create
from gunicorn.workers.base import Worker
from gunicorn.workers.ggevent import GeventWorker
from tests.canaries.gunicorn_parts import PEER, Quiet, handled, requests
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "gunicorn")

GET = b"GET /first HTTP/1.1\r\nHost: harbor\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: harbor\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: harbor\r\nContent-Length: %d\r\n\r\n"
NONSENSE = b"nonsense\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: harbor\r\nTransfer-Encoding: chunked\r\n\r\n"


def _answer(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


class TestReading:
    @relied(
        "requests are read by recv of whatever has that, and by nothing else",
        by="server/connections.py bounds every wait in Connection.recv",
    )
    def test_only_recv_is_asked(self):
        with requests(GET, then=POST % 3 + b"abc" + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n") as (parser, _):
            read = [(each.path, each.body.read()) for each in parser if each]
            assert read == [("/first", b""), ("/", b"abc"), ("/", b"abc")]
            assert parser.unreader.sock.asked > 0

    @relied(
        "req.unreader.buf holds what has come and nobody has asked for",
        by="server/messages.py tells by it whether a next request has begun",
    )
    @pytest.mark.parametrize("rest", [b"", LAST], ids=["nothing", "a request"])
    def test_what_follows_is_in_the_buffer(self, rest: bytes):
        with requests(POST % 3 + b"abc" + rest) as (parser, _):
            request = next(parser)
            assert request.body.read() == b"abc"
            assert request.unreader is request.body.reader.unreader
            assert request.unreader.buf.getbuffer().nbytes == len(rest)

    @relied(
        "req.body.reader is a LengthReader whose length is what is still to be read",
        by="server/messages.py says of one with more to come than the unreader has that it is unread",
    )
    def test_a_length_counts_down_to_nothing(self):
        with requests(POST % 3000 + b"a" * 1000) as (parser, send):
            request = next(parser)
            reader = request.body.reader
            assert type(reader) is LengthReader
            assert (reader.length, reader.unreader.buf.getbuffer().nbytes) == (3000, 1000)
            send(b"a" * 2000)
            assert len(request.body.read()) == 3000
            assert (reader.length, reader.unreader.buf.getbuffer().nbytes) == (0, 0)

    @relied("a request without a body has a LengthReader of 0", by="server/worker.py keeps its connection")
    def test_no_body_is_one_of_length_nothing(self):
        with requests(GET) as (parser, _):
            reader = next(parser).body.reader
            assert (type(reader), reader.length) == (LengthReader, 0)

    @relied(
        "ChunkedReader.parser is None once the last chunk was read",
        by="server/messages.py says of one whose chunks were not all read that it is unread",
    )
    def test_chunks_have_a_parser_until_they_end(self):
        with requests(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n") as (parser, _):
            body = next(parser).body
            assert type(body.reader) is ChunkedReader
            assert body.reader.parser is not None
            assert body.read() == b"abc"
            assert body.reader.parser is None

    @relied(
        "req.body.failed tells that reading raised",
        by="server/messages.py says that it is unread: where the next request begins is unknown",
    )
    def test_a_body_that_broke_says_so(self):
        with requests(CHUNKED + b"oops\r\n") as (parser, _):
            body = next(parser).body
            assert body.failed is False
            with pytest.raises(errors.ParseException):
                body.read()
            assert body.failed is True

    @relied(
        "what is no HTTP raises ParseException, and what is too long LimitRequestLine or LimitRequestHeaders",
        by="server/worker.py and web/problems.py make problem documents of them",
    )
    @pytest.mark.parametrize(
        ("sent", "kind"),
        [
            (NONSENSE, errors.ParseException),
            (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", errors.LimitRequestLine),
            (GET[:-2] + b"X: " + b"a" * 9000 + b"\r\n\r\n", errors.LimitRequestHeaders),
        ],
    )
    def test_faults_have_their_classes(self, sent: bytes, kind: type[Exception]):
        assert issubclass(kind, errors.ParseException)
        with requests(sent) as (parser, _), pytest.raises(kind):
            next(parser)

    @relied(
        "an end in the middle of a head is NoMoreData or StopIteration, and no ParseException",
        by="server/connections.py returns no bytes for an idle connection that it cuts",
    )
    @pytest.mark.parametrize("sent", [b"", GET[:-2]], ids=["nothing", "half a head"])
    def test_an_end_is_no_fault(self, sent: bytes):
        with requests(sent, then=b"") as (parser, _), pytest.raises((errors.NoMoreData, StopIteration)):
            next(parser)

    @relied(
        "the parser and Response ask req.should_close(), which may be replaced on the request and put back",
        by="server/worker.py replaces it while a request is handled",
    )
    def test_whether_to_close_is_asked_of_the_request(self):
        with requests(GET + LAST) as (parser, _):
            request = next(parser)
            assert not request.should_close()
            answer = Response(request, None, parser.cfg)
            answer.start_response("200 OK", [("Content-Length", "0")])
            assert not answer.should_close()
            request.should_close = lambda: True
            assert answer.should_close()
            assert "Connection: close\r\n" in answer.default_headers()
            with pytest.raises(StopIteration):
                next(parser)
            del request.should_close
            assert not request.should_close()
            assert next(parser).should_close()

    @relied(
        "wsgi.input ends where the body does, and environ says so",
        by="web/arguments.py reads chunks without a length, which Flask does only then",
    )
    def test_the_input_is_said_to_end(self):
        assert base_environ(Config())["wsgi.input_terminated"] is True

    @relied(
        "an unreader gives back first what was unread, and take_buffered() what nobody has asked for",
        by="server/plain_requests.py puts back what came along of a body, and takes what came behind it",
    )
    def test_a_body_begins_with_what_was_unread(self):
        pieces = [b"cd", b"efGET"]
        unreader = SocketUnreader(SimpleNamespace(recv=lambda _: pieces.pop(0)))
        unreader.unread(b"ab")
        body = Body(LengthReader(unreader, 6))
        assert (body.read(1), body.read()) == (b"a", b"bcdef")
        assert (unreader.take_buffered(), unreader.buf.getbuffer().nbytes) == (b"GET", 0)

    @relied(
        "get_parser() reads of a list of pieces as well",
        by="server/plain_requests.py has gunicorn read its template",
    )
    def test_pieces_are_a_source(self):
        [request] = http.get_parser(Config(), [b"GET / HTTP/1.1\r\nConnection: ", b"close\r\n\r\n"], PEER)
        assert (request.path, request.headers) == ("/", [("CONNECTION", "close")])

    @relied(
        "wsgi.create() asks a request for its headers, and of what is in each environ only SERVER_NAME and "
        "SERVER_PORT go by its host",
        by="server/plain_requests.py gives a template the host that was asked for",
    )
    def test_an_environ_is_made_of_the_request_s_headers(self):
        [template] = http.get_parser(Config(), [LAST], PEER)
        template.headers = [("HOST", "other:81")]
        _, environ = create(template, None, "", "/run/harbor.sock", Config())
        assert {each for each in environ if each.startswith("HTTP_")} == {"HTTP_HOST"}
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("other", "81")


class TestWriting:
    @relied(
        "an answer is a sendall for its head and one for each piece of its body",
        by="server/connections.py holds the first until the second comes, and sends them together",
    )
    def test_head_and_body_are_sent_one_after_the_other(self):
        with handled(LAST, _answer) as (_, sock, received):
            [(first, head), (second, body)] = [each for each in sock.done if each != "close"]
            assert (first, second) == ("sendall", "sendall")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert head.endswith(b"\r\n\r\n")
            assert body == b"hello"
            assert received == head + body

    @relied(
        "an answer without a body is a sendall for its head alone",
        by="server/connections.py sends the head that it holds when the request ends",
    )
    def test_a_head_alone_is_one_call(self):
        with handled(LAST.replace(b"GET", b"HEAD"), _answer) as (_, sock, received):
            assert [each[0] for each in sock.done if each != "close"] == ["sendall"]
            assert received.endswith(b"\r\n\r\n")

    @relied(
        "100 Continue is sent by send, before the application is called",
        by="server/connections.py lets send go out at once, and takes sendall for the answer",
    )
    def test_continue_goes_by_send(self):
        head = LAST[:-2] + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na"
        with handled(head, _answer) as (_, sock, received):
            assert sock.done[0] == ("send", b"HTTP/1.1 100 Continue\r\n\r\n")
            assert received.count(b"HTTP/1.1 ") == 2

    @relied(
        "an answer that breaks after its head is ended by shutdown, and then close",
        by="server/connections.py forgets the head that it holds on shutdown",
    )
    def test_a_broken_answer_is_shut_down(self):
        def breaking(environ, start_response):
            start_response("200 OK", [("Content-Length", "5")])
            yield b"h"
            raise RuntimeError

        with handled(GET, breaking) as (_, sock, received):
            after = sock.done[sock.done.index("shutdown") + 1 :]
            assert set(after) == {"close"}
            assert received.endswith(b"\r\n\r\nh")

    @relied(
        "Response keeps what process_headers() lets pass in headers, and sends default_headers() before it",
        by="server/plain_requests.py overrides both, with shorter ways to the same",
    )
    def test_fields_are_looked_at_and_sent_by_methods(self):
        class Answer(Response):
            def process_headers(self, headers):
                self.headers += [(name, value.upper()) for name, value in headers]

            def default_headers(self):
                assert (self.upgrade, self.chunked, self.headers_sent) == (False, True, False)
                return [f"HTTP/1.1 {self.status}\r\n"]

        sent = []
        with requests(GET) as (parser, _):
            sock = SimpleNamespace(sendall=sent.append)
            answer = Answer(next(parser), sock, parser.cfg)
            answer.start_response("200 OK", [("A", "b")])
            answer.close()
            assert b"".join(sent) == b"HTTP/1.1 200 OK\r\nA: B\r\n\r\n0\r\n\r\n"
            assert answer.headers_sent

    @relied(
        "util.is_hoppish() knows the fields that are not sent on, and util.http_date() writes a Date",
        by="server/plain_requests.py leaves such fields to Response, and makes its first lines of it",
    )
    def test_fields_of_one_hop_are_known(self):
        assert util.is_hoppish("Connection")
        assert not util.is_hoppish("Content-Length")
        assert util.http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"

    @relied(
        "_make_early_hints_callback(req, sock, resp) is what environ has as wsgi.early_hints",
        by="server/plain_requests.py puts it there for each request",
    )
    def test_hints_are_sent_until_the_answer_has_begun(self):
        sent = []
        with requests(GET) as (parser, _):
            request, sock = next(parser), SimpleNamespace(sendall=sent.append)
            answer, environ = create(request, sock, PEER, PEER, parser.cfg)
            hint = wsgi._make_early_hints_callback(request, sock, answer)
            assert environ["wsgi.early_hints"].__code__ is hint.__code__
            hint([("A", "b")])
            answer.headers_sent = True
            hint([("A", "c")])
            assert sent == [b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"]


class TestWorker:
    @relied(
        "handle() ends with close() of the socket that it was given",
        by="server/connections.py forgets a connection, and listens to who is still sending, in close",
    )
    @pytest.mark.parametrize("sent", [b"", LAST, NONSENSE], ids=["nothing", "a request", "no HTTP"])
    def test_a_connection_is_closed_by_its_own_method(self, sent: bytes):
        with handled(sent, _answer) as (_, sock, _):
            assert sock.done[-1] == "close"

    @relied(
        "handle() waits for each request within timeout_ctx(), and gives it to handle_request(name, req, "
        "sock, addr) with the socket that it was given",
        by="server/worker.py overrides both, and asks the socket for begin_request and end_request",
    )
    def test_each_request_is_handled_with_its_socket(self):
        calls = []

        class Worker(GeventWorker):
            def timeout_ctx(self):
                calls.append("timeout_ctx")
                return super().timeout_ctx()

            def handle_request(self, listener_name, req, sock, addr):
                calls.append((req.path, sock, addr))
                return super().handle_request(listener_name, req, sock, addr)

        with handled(GET + LAST, _answer, worker=Worker) as (_, sock, received):
            requested = [("/first", sock, PEER), ("/last", sock, PEER)]
            assert calls == ["timeout_ctx", requested[0], "timeout_ctx", requested[1]]
            assert received.count(b"HTTP/1.1 200 OK") == 2

    @relied(
        "what handle_request or recv raise comes to handle_error(req, client, addr, error), with req None "
        "where no head has come",
        by="server/worker.py answers there, RequestTimeout of our own recv included",
    )
    def test_errors_come_to_handle_error(self):
        told = []

        class Worker(GeventWorker):
            def handle_error(self, req, client, addr, exc):
                told.append((getattr(req, "path", None), client, addr, type(exc)))

        def failing(environ, start_response):
            raise LookupError

        with handled(GET, failing, worker=Worker) as (_, sock, _):
            assert told == [("/first", sock, PEER, LookupError)]
        told.clear()
        with handled(NONSENSE, _answer, worker=Worker) as (_, sock, _):
            [(path, client, addr, kind)] = told
            assert (path, client, addr) == (None, sock, PEER)
            assert issubclass(kind, errors.ParseException)
        told.clear()
        with handled(b"", _answer, worker=Worker):
            assert told == [], "a client that leaves is no error"

    @relied(
        "StopIteration of recv ends a connection without a word, and OSError of a client that has gone",
        by="server/plain_requests.py answers within recv, and says by these that nothing comes after",
    )
    @pytest.mark.parametrize("error", [StopIteration, BrokenPipeError(errno.EPIPE, "gone")], ids=repr)
    def test_a_connection_ends_by_what_recv_raises(self, error):
        told = []

        class Worker(GeventWorker):
            def handle(self, listener, client, addr):
                def recv(_):
                    raise error

                client.recv = recv
                super().handle(listener, client, addr)

            def handle_error(self, req, client, addr, exc):
                told.append(exc)

        with handled(b"", _answer, worker=Worker) as (_, sock, received):
            assert (told, sock.done, received) == ([], ["close"], b"")

    @relied(
        "each request counts in nr, and that which makes it max_requests is the last: alive is False then",
        by="server/plain_requests.py does the same",
    )
    def test_a_worker_counts_its_requests(self):
        class Worker(GeventWorker):
            def handle(self, listener, client, addr):
                self.max_requests = 2
                super().handle(listener, client, addr)

        with handled(GET + GET + GET, _answer, worker=Worker) as (worker, _, received):
            assert (worker.nr, worker.alive) == (2, False)
            assert [received.count(each) for each in (b"keep-alive", b"Connection: close")] == [1, 1]

    @relied(
        "handle_exit ends the loop by alive = False", by="server/worker.py lets idle connections go there"
    )
    def test_a_worker_that_is_told_to_end_is_not_alive(self):
        with handled(b"", _answer) as (worker, _, _):
            assert worker.alive
            worker.handle_exit(15, None)
            assert not worker.alive

    @relied(
        "load_wsgi puts what the application's load() returns in wsgi, and app is the application",
        by="server/worker.py freezes what is loaded by then, and reads app.bounds",
    )
    def test_the_application_is_loaded_by_load_wsgi(self):
        class App(BaseApplication):
            def load_config(self):
                self.cfg.set("worker_class", "gevent")

            def load(self):
                return _answer

        app = App()
        worker = GeventWorker(1, 1, [], app, 30, app.cfg, Quiet(app.cfg))
        try:
            worker.load_wsgi()
            assert (worker.wsgi, worker.app) == (_answer, app)
        finally:
            worker.tmp.close()

    @relied("listeners are in sockets when run() begins", by="server/worker.py sets their send buffer there")
    def test_the_listeners_are_the_worker_s_sockets(self):
        config = Config()
        with socket.socket() as listener:
            worker = GeventWorker(1, 1, [listener], None, 30, config, Quiet(config))
            worker.tmp.close()
            assert worker.sockets == [listener]

    @relied(
        "a server_class is made of each listener, with a spawn that hands connections to handle, and is "
        "started, asked for its pool and closed",
        by="server/worker.py has connections accepted by server/shares.py so",
    )
    def test_a_worker_accepts_by_the_server_class_that_it_has(self):
        made = []

        class Serving(StreamServer):
            def __init__(self, listener, *, spawn, **_):
                super().__init__(listener, handle=lambda *_: worker.handle_exit(15, None), spawn=spawn)
                made.append((self, listener))

        config = Config()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            worker = GeventWorker(1, os.getppid(), [listener], None, 30, config, Quiet(config))
            try:
                worker.wsgi, worker.server_class = _answer, Serving
                running = gevent.spawn(worker.run)
                with socket.create_connection(listener.getsockname()):
                    running.join(10)
                [(server, of)] = made
                assert running.successful()
                assert of is listener
                assert server.closed
            finally:
                worker.tmp.close()


class _Asked(Arbiter):
    """An arbiter that notes what gunicorn asks of it."""

    def __init__(self, app):
        self.asked = []
        super().__init__(app)

    def manage_workers(self):
        self.asked.append("manage_workers")
        raise StopIteration

    def reload(self):
        self.asked.append("reload")

    def reap_workers(self):
        self.asked.append("reap_workers")

    def stop(self, graceful=True):
        self.asked.append("stop")


class _Listens(BaseApplication):
    def load_config(self):
        for name, value in {"workers": 1, "logger_class": Quiet, "control_socket_disable": True}.items():
            self.cfg.set(name, value)

    def load(self):
        return _answer


class TestArbiter:
    @relied(
        "run() begins with start(), asks manage_workers() at each turn, and ends with stop(); signals ask "
        "reload() and reap_workers()",
        by="server/arbiter.py overrides all of these",
    )
    def test_it_asks_its_own_methods(self, monkeypatch):
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        arbiter = _Asked(_Listens())
        arbiter.LISTENERS = ours = [SimpleNamespace()]
        with pytest.raises(SystemExit):
            arbiter.run()
        assert arbiter.LISTENERS is ours, "sockets that were there are not taken"
        arbiter.handle_hup()
        arbiter.handle_chld()
        assert arbiter.asked == ["manage_workers", "stop", "reload", "reap_workers"]

    @relied(
        "workers are in WORKERS by their process, with their age; one that cannot start raises HaltServer; "
        "what takes over is reexec_pid to the first and knows that as master_pid",
        by="server/arbiter.py goes by these, and server/listening.py by GUNICORN_FD",
    )
    def test_what_it_keeps(self):
        arbiter = Arbiter(_Listens())
        assert (arbiter.WORKERS, arbiter.worker_age, arbiter.num_workers) == ({}, 0, 1)
        assert (arbiter.reexec_pid, arbiter.master_pid, arbiter.systemd) == (0, 0, False)
        assert "raise HaltServer" in inspect.getsource(Arbiter.reap_workers)
        handed_over = inspect.getsource(Arbiter.reexec)
        assert "environ['GUNICORN_FD'] = ','.join(" in handed_over
        assert "environ['GUNICORN_PID'] = str(master_pid)" in handed_over
        assert Worker.__init__.__code__.co_varnames[1:2] == ("age",)

    @relied(
        "manage_workers is called about once a second, and WORKERS has those that live by their process ids",
        by="server/arbiter.py and server/exporting.py keep the exporter, and number workers by it",
    )
    def test_the_loop_and_its_workers(self):
        run = inspect.getsource(Arbiter.run)
        assert run.index("wait_for_signals(timeout=1.0)") < run.rindex("self.manage_workers()")
        spawn = inspect.getsource(Arbiter.spawn_worker)
        assert spawn.index("pre_fork(self, worker)") < spawn.index("os.fork()")
        assert spawn.index("os.fork()") < spawn.index("self.WORKERS[pid] = worker")
        assert spawn.index("post_fork(self, worker)") < spawn.index("worker.init_process()")
        reap = inspect.getsource(Arbiter.reap_workers)
        assert reap.index("self.WORKERS.pop") < reap.index("child_exit(self, worker)")


class TestSettings:
    @relied(
        "a setting in cfg.__dict__ stands for its look-up, and is worth the same",
        by="server/worker.py puts all of them there",
    )
    def test_settings_may_be_plain_attributes(self):
        config = Config()
        config.set("keepalive", 5)
        before = {name: getattr(config, name) for name in config.settings}
        config.__dict__.update({name: setting.get() for name, setting in config.settings.items()})
        assert {name: getattr(config, name) for name in config.settings} == before
        config.__dict__["keepalive"] = 6
        assert config.keepalive == 6, "attributes are no longer looked at before settings"

    @relied(
        "Logger asks setup(cfg) of itself, has error_log, and access() writes the line of a request",
        by="server/logger.py overrides both",
    )
    def test_a_logger_is_set_up_by_its_own_method(self):
        done = []

        class Log(Logger):
            def setup(self, cfg):
                done.append((cfg, self.error_log.name))

            def access(self, *parts):
                done.append(len(parts))

        class Worker(GeventWorker):
            def handle(self, listener, client, addr):
                self.log = Log(self.cfg)
                super().handle(listener, client, addr)

        with handled(LAST, _answer, worker=Worker) as (worker, _, _):
            assert done == [(worker.cfg, "gunicorn.error"), 4]
