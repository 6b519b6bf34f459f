<%inherit file="base.mako"/>\
<%namespace name="parts" file="parts.mako"/>\
<%def name="title()">Job ${job["id"]}</%def>\
<%def name="head()">
% if pending:
${parts.refresh(3)}
% endif
</%def>
<h1>Job <span class="id">${job["id"]}</span></h1>
<div id="facts"${' data-live=1' if pending else ' data-reload'}>
<p class="summary" role="status">${parts.state(job)}
% if job["state"]["reason"]:
<span>${job["state"]["reason"]}</span>
% endif
</p>
% if metrics["progress"]:
<p><label for="progress">Done</label> <progress id="progress" max="100" value="${words.percent(metrics['progress']['fraction'])}" \
aria-describedby="stage"></progress> <span id="stage">${words.percent(metrics["progress"]["fraction"])} %${": " + metrics["progress"]["stage"] if metrics["progress"]["stage"] else ""}, \
${metrics["progress"]["done"]} of about ${metrics["progress"]["total"]} circuits</span></p>
% endif
<dl class="facts">
<div><dt>Program</dt><dd>${job["program"]["id"]}</dd></div>
<div><dt>Backend</dt><dd><a href="${page.url('devices', job['backend'])}">${job["backend"]}</a></dd></div>
% if metrics["executor"]:
<div><dt>Executor</dt><dd>${metrics["executor"]}${", chosen: " + words.routing(metrics["routing"]) if metrics["routing"] else ""}</dd></div>
% endif
<div><dt>Account</dt><dd>${job["account"]}</dd></div>
<div><dt>Created</dt><dd>${words.moment(job["created"])}</dd></div>
<div><dt>Started</dt><dd>${words.moment(job["started"])}</dd></div>
<div><dt>Ended</dt><dd>${words.moment(metrics["timestamps"]["finished"])}</dd></div>
<div><dt>Slot time</dt><dd>${words.seconds(job["seconds"])} of at most ${words.seconds(job["cost"])}</dd></div>
% if metrics["position_in_queue"] is not None:
<div><dt>Place in the queue</dt><dd>${metrics["position_in_queue"]}</dd></div>
% endif
% if pending:
<div><dt>Expected</dt><dd>${"starts about " + words.moment(metrics["estimated_start_time"]) + ", " if metrics["estimated_start_time"] else ""}\
${"ends about " + words.moment(metrics["estimated_completion_time"]) if metrics["estimated_completion_time"] else "too little is known"}</dd></div>
% endif
% if metrics["num_circuits"]:
<div><dt>Circuits</dt><dd>${metrics["num_circuits"]}${f', with {words.extent(metrics["num_qubits"])} qubits' if metrics["num_qubits"] else ""}</dd></div>
<div><dt>Shots in all</dt><dd>${f'{metrics["executions"]:,}'}</dd></div>
% endif
% if metrics["qiskit_version"]:
<div><dt>Run with Qiskit</dt><dd>${metrics["qiskit_version"]}</dd></div>
% endif
% if job["session_id"]:
<div><dt>Session</dt><dd>\
% if own:
<a class="id" href="${page.url('sessions', job['session_id'])}">${job["session_id"]}</a>\
% else:
<span class="id">${job["session_id"]}</span>\
% endif
</dd></div>
% endif
% if job["tags"]:
<div><dt>Tags</dt><dd>${parts.tags(job)}</dd></div>
% endif
% if job["private"]:
<div><dt>Private</dt><dd>params are not shown, and the result is read once</dd></div>
% endif
</dl>
<div class="actions">
% if pending:
<form method="post" action="${page.url('jobs', job['id'], 'cancel')}">${parts.csrf()}<button>Cancel this job</button></form>
% endif
% if job["status"] == "Completed" and not (job["private"] and not own):
<a class="button" href="${page.url('jobs', job['id'], 'result.json')}">Result as JSON${" (it is read once)" if job["private"] else ""}</a>
% endif
<a class="button" href="${page.url('jobs', job['id'], 'job.json')}">Job as JSON</a>
% if own or page.is_admin:
<details><summary>Delete …</summary>
<form method="post" action="${page.url('jobs', job['id'], 'delete')}">${parts.csrf()}
<p>The job goes for good, with its result and log${"; it is ended first" if pending else ""}.</p>
<button class="danger">Delete it</button></form></details>
% endif
</div>
</div>
% if job["status"] == "Completed" and not job["private"]:
<h2>Outcomes</h2>
<div data-load="${page.url('jobs', job['id'], 'outcomes')}"><p><a href="${page.url('jobs', job['id'], 'outcomes')}">Show the outcomes</a></p></div>
% endif
% if not job["private"]:
<h2>Circuits and options</h2>
<div data-load="${page.url('jobs', job['id'], 'circuits')}"><p><a href="${page.url('jobs', job['id'], 'circuits')}">Show the circuits and the options</a></p></div>
% endif
<h2 id="log-of-job">Log</h2>
<div id="log"${' data-live=1' if pending else ''}>
% if left_out:
<p class="quiet">The last lines; ${left_out} are left out. <a href="${page.url('jobs', job['id'], 'log.txt')}">All of it</a></p>
% endif
% if log:
<pre class="log" tabindex="0" aria-labelledby="log-of-job">${log}</pre>
% else:
<p class="quiet">This job has written no log.</p>
% endif
</div>
