"""The page in Python: it takes over from `static/page.js` as soon as it runs.

Imported into the memory snapshot, possibly in a worker: no module here touches a JavaScript object at import.
"""
