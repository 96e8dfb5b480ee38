"""The server side of Holdfast: idempotency for ASGI apps, and the reference app's API built on it.

`idempotency`, `stores`, `middleware`, `problems` and `security` serve any app; the other modules are the reference app.
"""
