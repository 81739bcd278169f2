"""The CometD session: Bayeux 1.0 as a sans-I/O core, on aiocometd's public Client and Transport.

aiocometd 0.4.5, the last release, does not run on Python 3.10 or later as it stands. Its transports lose events: they
acknowledge nothing, sleep milliseconds as seconds, and never subscribe again after a refusal. Its public face is sound
and is what we use: `Client` (negotiation, open, close, subscribe), `Transport`, `register_transport`, `AuthExtension`,
the constants and the exceptions. `transport.py` implements `Transport` as a face of the engine, and our transports are
registered in place of aiocometd's own. Everything of ours reaches them as the client's `auth` extension (`Link`). No
private name is touched and nothing is patched. The version is pinned, and a test fails if a name that we rely on
disappears. `Client.receive` is replaced by `facts()`.

Rules of the session that are easy to break:

- Subscribe after every handshake, before the first connect, and check the answer.
- The first connect, and the first after a failure, asks for an answer at once (`advice.timeout` 0).
- The ack number sent is that of the last batch that is durable here. While the journal cannot commit, connects with the
  old number keep the session alive; what they bring is left to come again.
- A batch whose number is not above the last durable one is a repetition and is dropped.
- A session that can still live is never given up (`lease.py`): whatever fails, it is tried again, often enough for the
  server to keep it. 401 and 403, by HTTP or in Bayeux, are answered with a login and the same session: a fresh
  handshake would throw its queue away.
- Without acks each answer may stand for one that the server had given, with events in it, unless it is a 2xx that holds
  the reply. Only a connection that never came about proves that nothing was sent.
- Without acks a held connect is dangerous to leave behind: the server would write the next events into the answer that
  nobody reads. `Engine.end_polling` ends polling with a second connect that is answered at once. With acks it stays
  open until the process ends: the server counts `maxInterval` from its end.
- Handshakes have a growing pause of their own, reset only by a session that outlived its first connect.
"""
