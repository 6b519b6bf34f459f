#!/bin/sh
# A job without Python: a circuit as text, its samples as plain JSON. Needs curl; the names are those of `connect`.
set -eu
url=${IAM_URL:-http://127.0.0.1:8000}
api="$url/api/v1"

field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

access=$(curl -sf "$url/identity/token" --data-urlencode "apikey=${QISKIT_IBM_TOKEN:-anonymous}" | field access_token)
call() { curl -sf -H "Authorization: Bearer $access" -H "Content-Type: application/json" "$@"; }

job=$(call "$api/jobs" --data @- <<'JSON' | field id
{
  "program_id": "sampler",
  "backend": "fake_manila@aer",
  "params": {
    "pubs": [["OPENQASM 3.0; include \"stdgates.inc\"; bit[2] c; x $0; cx $0, $1; c[0] = measure $0; c[1] = measure $1;", null, 10]]
  }
}
JSON
)
until state=$(call "$api/jobs/$job?exclude_params=true" | field status) && [ "$state" != Queued ] && [ "$state" != Running ]; do
  sleep 0.2
done
echo "$job: $state"
call "$api/jobs/$job/results"
echo
