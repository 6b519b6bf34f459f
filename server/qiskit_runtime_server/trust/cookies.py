"""Cookies of the servers that this one asks, which it does not take."""

from http.cookiejar import CookieJar, DefaultCookiePolicy


def no_cookies() -> CookieJar:
    """Return a jar that stays empty: what is set with the answer to one token would be sent along with all others."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))
