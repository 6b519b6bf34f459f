"""The HTTP session for what is not the API server: pods, which may run any image."""

import aiohttp


def outside_session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """Return a session that keeps no cookies: those of one api would be sent to others, and never become fewer."""
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
