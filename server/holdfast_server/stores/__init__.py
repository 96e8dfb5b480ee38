"""Where keys and effects are kept. `port.py` is the port; each other module is one database behind it."""
