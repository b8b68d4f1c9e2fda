"""Answers that are coded as the caller likes best, and nobody keeps."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from flask import Response, request

from harbor_api.web import compression
from harbor_api.web.documented import View, documented


def coded(view: View) -> View:
    """Send what a view answers in the coding that the caller likes best, where that is worth it."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = cast("Callable[..., Response]", view)(*args, **kwargs)
        content = response.get_data()
        accepted = request.headers.get("Accept-Encoding", "")
        coding = compression.chosen(accepted, response.mimetype, len(content))
        if coding is not None:
            response.set_data(compression.encode(content, coding))
            response.content_encoding = coding
        response.vary.add("Accept-Encoding")
        return response

    return documented(cast("View", wrapper), further={200: ("Content-Encoding", "Vary")})
