"""HTTP in and out: admission, limits, request bodies, routes and the errors that leave the server."""
