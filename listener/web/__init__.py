"""Probes, metrics, status and actions over HTTP, for Kubernetes, Prometheus, programs and people.

Each request takes the same way through `server.py`: `auth.Guard` first, so that a stranger does not even learn which
paths there are; then the route, the body within its limit, and the handler. A handler gets a `routes.Call` and answers,
or raises `HttpRefused`. `limits.py` counts each refusal and logs once a minute and reason, never a path, which may
hold a chat. All of it stands on aiohttp's low-level server: only there can a connection be timed from its first byte
and ended.

To add a page, write a class with `routes()` that is given callables and never the daemon. Add a line to
`serving.http_server` and the path to `openapi.py`, which a test demands. A stream calls `Call.keep()` before it
answers: that lifts the time limit of its connection, or is false if 16 streams are open. What it sends carries
`routes.HEADERS`. Its task is cancelled when its connection is lost and when the server stops.

- `status.py` holds the structure of `/status.json`, and `openapi.py` makes its schema from it. The journal's own
  figures are at most a second old and waited for 2 s at most: lanes read through the same thread.
- `feed.py` reads the journal as a lane does, a batch at a time. A pause after each batch lets the next one grow: 16
  streams cost at most 64 reads a second.
- `lookups.py` answers one search after the other; 15 may wait. A search goes backwards over a bounded number of rows
  without an index of its own, which each append would pay for: 20,000 where columns decide, 5,000 where `data` has to
  be decoded. Either takes the reader 20 to 50 ms, for which a lane that reads from the file may have
  to wait.
- Actions go the same way as commands over the control socket. They need the token in the header and JSON as their type;
  neither can be sent by a page from elsewhere.
- The console is files without a build step. `feed.js` reads the stream, `events.js` keeps rows without holes and only
  what is shown of them, so nothing of a customer; `table.js` draws the visible ones. Texts reach the page through
  `dom.js` alone, as texts.
- Gauges are set when somebody looks (`Metrics.sample`); the hot path counts once a batch. No label holds an account.
"""
