"""HTTP: admission, limits, request bodies, routes, errors and the documentation of the API."""
