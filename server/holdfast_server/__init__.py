"""The server side of Holdfast: idempotency for ASGI apps, and the reference app's API built on it.

For any app: `middleware.IdempotencyMiddleware`, `marking.idempotent` and `paths`, `exchange.transaction`, and the stores in
`stores`. What they decide is in `idempotency`. The other modules are the reference app.
"""
