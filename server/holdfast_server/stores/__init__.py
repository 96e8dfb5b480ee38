"""Where keys and effects are kept. `port.py` has the ports; `sql_keys.py` keeps keys in SQLite and PostgreSQL, `redis.py` in Redis."""
