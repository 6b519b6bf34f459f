"""By which names a server may be called."""

from http import HTTPStatus

import httpx

from kit.server.server_process import NO_EXECUTOR, ServerProcess, StartServer


def answers(server: ServerProcess, *hosts: str) -> dict[str, int]:
    """Return how the server answers those who call it by these names."""
    return {host: httpx.get(f"{server.url}/health/live", headers={"Host": host}).status_code for host in hosts}


def test_a_page_that_points_its_name_to_this_machine_is_refused(server: ServerProcess) -> None:
    port = server.url.rpartition(":")[2]
    right = ("localhost", f"LOCALHOST:{port}", "lab.localhost", f"127.0.0.1:{port}", "[::1]", f"[::1]:{port}")
    wrong = ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "[", "")
    assert answers(server, *right) == dict.fromkeys(right, HTTPStatus.OK)
    assert answers(server, *wrong) == dict.fromkeys(wrong, HTTPStatus.MISDIRECTED_REQUEST)
    refused = httpx.post(f"{server.url}/identity/token", data={"apikey": "x"}, headers={"Host": "evil.example"})
    assert "access_token" not in refused.text
    assert "QRS_ALLOWED_HOSTS" in refused.text


def test_names_that_are_given_are_right(start_server: StartServer) -> None:
    server = start_server(NO_EXECUTOR, QRS_ALLOWED_HOSTS="Quantum.Example")
    right, wrong = ("quantum.example", "127.0.0.1"), "evil.example"
    expected = {**dict.fromkeys(right, HTTPStatus.OK), wrong: HTTPStatus.MISDIRECTED_REQUEST}
    assert answers(server, *expected) == expected
