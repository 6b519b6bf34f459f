"""Another account, in a process of its own: calls a server until its input ends, and says what each call took."""

import json
import select
import sys
import time

import httpx

PAUSE_SECONDS = 0.1
# The first calls open a connection, and have the server load what it has not used before.
UNCOUNTED = 5


def asked(client: httpx.Client) -> None:
    """Ask for the list of jobs; once more where the connection was closed meanwhile, as clients do."""
    try:
        answer = client.get("/jobs")
    except httpx.TransportError:
        answer = client.get("/jobs")
    answer.raise_for_status()


def main() -> None:
    """Call the server at a URL with a token, both from the command line."""
    url, token = sys.argv[1:]
    headers = {"Authorization": f"apikey {token}"}
    took: list[float] = []
    failures: list[str] = []
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) as client:
        for _ in range(UNCOUNTED):
            client.get("/jobs").raise_for_status()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            begin = time.monotonic()
            try:
                asked(client)
            except httpx.HTTPError as error:
                failures.append(str(error))
            took.append(time.monotonic() - begin)
    sys.stdout.write(json.dumps({"seconds": took, "failures": failures}))


if __name__ == "__main__":
    main()
