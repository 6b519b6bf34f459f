<%inherit file="base.mako"/>\
<%namespace name="parts" file="parts.mako"/>\
<%def name="title()">${heading}</%def>\
<%def name="head()">
% if live:
${parts.refresh(5)}
% endif
</%def>
<h1>${heading}</h1>
<form method="get" action="${page.url(name)}" class="filters" role="search" aria-label="Jobs">
% if name != "jobs":
<label>Account <input name="account" value="${wanted['account']}" maxlength="256"></label>
% endif
<label>State <select name="state">
<option value="">any</option>
% for state in states:
<option value="${state}"${' selected' if state == wanted['state'] else ''}>${state}</option>
% endfor
</select></label>
<label>Program <select name="program">
<option value="">any</option>
% for program in programs:
<option value="${program}"${' selected' if program == wanted['program'] else ''}>${program}</option>
% endfor
</select></label>
<label>Backend <input name="backend" value="${wanted['backend']}" maxlength="256" placeholder="fake_torino@aer"></label>
<label>Tags <input name="tags" value="${wanted['tags']}" maxlength="256"></label>
<button>Filter</button>
% if any(wanted.values()):
<a href="${page.url(name)}">Clear</a>
% endif
</form>
<div id="listing"${' data-live=2' if live else ''}>
<p class="quiet">${f"{count:,}"} job${"" if count == 1 else "s"}${" with these filters" if any(wanted.values()) else ""}.</p>
% if jobs:
<div class="wide" role="region" aria-label="Jobs" tabindex="0">
<table>
<thead><tr><th scope="col">Job</th>
% if name != "jobs":
<th scope="col">Account</th>
% endif
<th scope="col">State</th><th scope="col">Program</th><th scope="col">Backend</th><th scope="col">Created</th>
% if forecasts:
<th scope="col">Expected</th>
% endif
<th scope="col" class="number">Slot time</th><th scope="col">Tags</th></tr></thead>
<tbody>
% for job in jobs:
<% expected = forecasts.get(job["id"]) %>\
<tr>
<th scope="row"><a class="id" href="${page.url('jobs', job['id'])}">${job["id"]}</a></th>
% if name != "jobs":
<td><a href="${page.url(name, account=job['account'])}">${job["account"]}</a></td>
% endif
<td>${parts.state(job)}</td>
<td>${job["program"]["id"]}</td>
<td>${job["backend"]}</td>
<td class="time">${words.moment(job["created"])}</td>
% if forecasts:
<td class="time">\
% if expected is not None and expected["position_in_queue"] is not None:
place ${expected["position_in_queue"]}${", starts about " + words.soon(expected["estimated_start_time"]) if expected["estimated_start_time"] else ""}\
% elif expected is not None and expected["estimated_completion_time"] is not None:
${f'{words.percent(expected["progress"]["fraction"])} % done, ' if expected["progress"] else ""}\
ends about ${words.soon(expected["estimated_completion_time"])}\
% endif
</td>
% endif
<td class="number">${words.seconds(job["seconds"]) if job["seconds"] else ""}</td>
<td>${parts.tags(job)}</td>
</tr>
% endfor
</tbody>
</table>
</div>
% else:
<p>There are none${" like that" if any(wanted.values()) else " yet: they appear here as soon as a client sends one"}.</p>
% endif
<nav class="pages" aria-label="Pages">
% if beyond:
<a href="${page.url(name, **wanted)}">Newest</a>
% endif
% if following:
<a rel="next" href="${page.url(name, cursor=following, **wanted)}">Older</a>
% endif
</nav>
</div>
