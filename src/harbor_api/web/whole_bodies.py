"""Requests and answers as nearly all of them are: a body of known length that is taken, or sent, at once."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import flask
from werkzeug.exceptions import ClientDisconnected

# More digits than any body may have bytes.
_MOST_DIGITS = 9


class Request(flask.Request):
    """A request that takes its body at once where it says how long that is.

    Werkzeug reads every body as if nobody knew: through a stream that counts, into 64 KiB that it clears.
    What it refuses it refuses as before, and whatever is out of the ordinary it reads.
    """

    _held: bytes | None = None

    def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        """Return the body, as the base class does."""
        if as_text or parse_form_data or not cache:
            return super().get_data(cache, as_text, parse_form_data)  # type: ignore[call-overload]  # no overload takes any
        if self._held is None:
            length = self._length()
            self._held = super().get_data() if length is None else self._read(length)
        return self._held

    def _length(self) -> int | None:
        """Return how long a body is that can be taken at once, None for any other."""
        environ = self.environ
        length: str = environ.get("CONTENT_LENGTH") or ""
        if (
            not length.isascii()
            or not length.isdigit()
            or len(length) > _MOST_DIGITS
            or "HTTP_TRANSFER_ENCODING" in environ
            # Or the server might wait for what does not come.
            or "wsgi.input_terminated" not in environ
        ):
            return None
        most = self.max_content_length
        return int(length) if most is None or int(length) <= most else None

    def _read(self, length: int) -> bytes:
        try:
            body: bytes = self.environ["wsgi.input"].read(length)
        except (OSError, ValueError) as error:
            raise ClientDisconnected from error
        # Whoever reads it in another way finds it, too.
        self.environ["wsgi.input"] = io.BytesIO(body)
        return body


class WholeAnswer(flask.Response):
    """An answer with a whole body that leads nowhere: it goes out as it stands.

    Werkzeug copies the headers of every other one, to look for addresses to complete and a length to add, and
    wraps its body, to close what that may have been read from.
    """

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "HEAD" or self.status_code in {204, 304}:
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        return [self.get_data()]
