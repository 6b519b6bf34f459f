<%inherit file="base.mako"/>\
<%def name="title()">Sessions</%def>
<h1>${"Sessions" if mode == "session" else "Batches"}</h1>
<form method="get" action="${page.url('sessions')}" class="filters" role="search" aria-label="Sessions">
<label>Kind <select name="mode">
<option value="session"${' selected' if mode == 'session' else ''}>sessions</option>
<option value="batch"${' selected' if mode == 'batch' else ''}>batches</option>
</select></label>
% if len(instances) > 1:
<label>Instance <select name="instance">
% for crn in instances:
<option value="${crn}"${' selected' if crn == instance else ''}>${crn.split(":")[-3]}</option>
% endfor
</select></label>
% endif
<button>Show</button>
</form>
% if sessions:
<div class="wide" role="region" aria-label="Sessions" tabindex="0">
<table>
<thead><tr><th scope="col">Id</th><th scope="col">State</th><th scope="col">Backend</th><th scope="col">Created</th>\
<th scope="col">Ended</th><th scope="col" class="number">Slot time</th></tr></thead>
<tbody>
% for one in sessions:
<tr><th scope="row"><a class="id" href="${page.url('sessions', one['id'])}">${one["id"]}</a></th>
<td><span class="state ${one['status']}">${one["status"].replace("_", " ")}</span></td><td>${one["backend"]}</td>
<td class="time">${words.moment(one["created"])}</td><td class="time">${words.moment(one["ended"])}</td>
<td class="number">${words.seconds(one["usage_seconds"])}</td></tr>
% endfor
</tbody>
</table>
</div>
% if following:
<nav class="pages" aria-label="Pages"><a rel="next" href="${page.url('sessions', mode=mode, instance=instance, following=following)}">Older</a></nav>
% endif
% else:
<p>There are none.</p>
% endif
