<%inherit file="base.mako"/>\
<%namespace name="parts" file="parts.mako"/>\
<%def name="title()">Executors</%def>\
<%def name="head()">${parts.refresh(5)}</%def>
<h1>Executors</h1>
<div id="executors" data-live="3">
<div class="wide" role="region" aria-label="Executors" tabindex="0">
<table>
<thead><tr><th scope="col">Executor</th><th scope="col">State</th><th scope="col" class="number">Slots</th>\
<th scope="col" class="number">Queued</th><th scope="col" class="number">Your running jobs</th>
% if page.is_admin:
<th scope="col" class="number">Running</th><th scope="col" class="number">Free slots</th>\
<th scope="col" class="number">Longest wait</th>
% endif
</tr></thead>
<tbody>
% for one in executors:
<tr><th scope="row">${one["name"]}</th>
<td><span class="state ${one['status']}">${one["status"]}</span> ${one["reason"]}</td>
<td class="number">${one["slots"]}</td><td class="number">${one["queued"]}</td><td class="number">${one["own_running"]}</td>
% if page.is_admin:
<td class="number">${one["running"]}</td><td class="number">${one["idle"]}</td>\
<td class="number">${words.seconds(one["oldest_waiting_seconds"]) if one["queued"] else ""}</td>
% endif
</tr>
% endfor
</tbody>
</table>
</div>
% for name, one in known.items():
<h2>${name}</h2>
% if one["missing_seconds"]:
<p>None has been up for ${words.seconds(one["missing_seconds"])}\
${"; one is started when a job waits (cold start)" if one["on_demand"] else ""}.</p>
% endif
% if one["endpoints"]:
<div class="wide" role="region" aria-label="Endpoints of ${name}" tabindex="0">
<table>
<thead><tr><th scope="col">Endpoint</th><th scope="col">State</th><th scope="col" class="number">Slots</th>\
<th scope="col" class="number">Free</th><th scope="col">Device</th><th scope="col" class="number">Ideal qubits</th>\
<th scope="col">Release</th></tr></thead>
<tbody>
% for endpoint in one["endpoints"]:
<tr><th scope="row" class="id">${endpoint["address"]}</th>
<td><span class="state ${'' if endpoint['draining'] else 'online'}">${"draining" if endpoint["draining"] else "online"}</span></td>
<td class="number">${endpoint["slots"]}</td><td class="number">${endpoint["idle"]}</td><td>${endpoint["device"]}</td>\
<td class="number">${endpoint["num_qubits"]}</td><td>${endpoint["release"]}</td></tr>
% endfor
</tbody>
</table>
</div>
% endif
<form method="post" action="${page.url('executors', name, 'drain')}" class="actions">${parts.csrf()}
<input type="hidden" name="draining" value="${'no' if one['draining'] else 'yes'}">
<button>${"Start jobs on it again" if one["draining"] else "Start no more jobs on it"}</button></form>
% endfor
</div>
