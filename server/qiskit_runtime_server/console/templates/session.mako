<%inherit file="base.mako"/>\
<%namespace name="parts" file="parts.mako"/>\
<%def name="title()">Session ${session["id"]}</%def>
<h1>${"Batch" if session["mode"] == "batch" else "Session"} <span class="id">${session["id"]}</span></h1>
<p class="summary"><span class="state ${session['state']}">${session["state"].replace("_", " ")}</span>
<span>${"accepts jobs" if session["accepting_jobs"] else "accepts no jobs"}</span></p>
<dl class="facts">
<div><dt>Backend</dt><dd><a href="${page.url('devices', session['backend_name'])}">${session["backend_name"]}</a></dd></div>
<div><dt>Created</dt><dd>${words.moment(session["created_at"])}</dd></div>
<div><dt>First job started</dt><dd>${words.moment(session["started_at"])}</dd></div>
<div><dt>Closed</dt><dd>${words.moment(session["closed_at"])}</dd></div>
<div><dt>Slot time of its jobs</dt><dd>${words.seconds(session["elapsed_time"])}</dd></div>
<div><dt>Left of its time</dt><dd>${words.seconds(session["active_ttl"])} of ${words.seconds(session["max_ttl"])}</dd></div>
</dl>
% if session["accepting_jobs"]:
<form method="post" action="${page.url('sessions', session['id'], 'close')}" class="actions">${parts.csrf()}<button>Accept no more jobs</button></form>
% endif
<h2>Jobs</h2>
% if jobs:
<div class="wide" role="region" aria-label="Jobs" tabindex="0">
<table>
<thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Program</th><th scope="col">Created</th>\
<th scope="col" class="number">Slot time</th></tr></thead>
<tbody>
% for job in jobs:
<tr><th scope="row"><a class="id" href="${page.url('jobs', job['id'])}">${job["id"]}</a></th><td>${parts.state(job)}</td>
<td>${job["program"]["id"]}</td><td class="time">${words.moment(job["created"])}</td>
<td class="number">${words.seconds(job["seconds"]) if job["seconds"] else ""}</td></tr>
% endfor
</tbody>
</table>
</div>
% if count > len(jobs):
<p class="quiet">The newest ${len(jobs)} of ${count}.</p>
% endif
% else:
<p>There are none.</p>
% endif
