"""The thin shell around the browser: the only place of the library that imports `js` or `pyodide`."""
