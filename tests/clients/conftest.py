"""The real reward server for the clients to talk to."""

from tests.reward_server.conftest import compass, compass_http, compass_url

__all__ = ["compass", "compass_http", "compass_url"]
