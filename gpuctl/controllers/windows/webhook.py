"""Posting messages to somebody's URL, one after the other, without ever holding up a switch."""

import queue
import threading
import urllib.request
from collections.abc import Callable

Report = Callable[[str], None]
LIMIT_S = 5.0
MOST_WAITING = 1000
"""Messages that wait for a webhook that is slow; what comes then is dropped, and reported."""


class Webhook:
    """One URL. ``report`` is told what could not be delivered."""

    def __init__(self, url: str, *, report: Report) -> None:
        self._url = url
        self._report = report
        self._waiting: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None

    def post(self, body: bytes) -> None:
        """Send ``body`` (JSON) soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(body)
        except queue.Full:
            self._report(f"the webhook is too slow: {MOST_WAITING} messages wait, and this one is dropped")

    def flush(self) -> None:
        """Wait until everything was sent, or could not be."""
        self._waiting.join()

    def _run(self) -> None:
        while True:
            body = self._waiting.get()
            try:
                asked = urllib.request.Request(self._url, data=body, headers={"Content-Type": "application/json"}, method="POST")
                with urllib.request.urlopen(asked, timeout=LIMIT_S):
                    pass
            except (OSError, ValueError) as error:
                self._report(f"the webhook was not reached: {error}")
            finally:
                self._waiting.task_done()
