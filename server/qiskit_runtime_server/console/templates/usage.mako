<%inherit file="base.mako"/>\
<%namespace name="parts" file="parts.mako"/>\
<%def name="title()">${heading}</%def>
<h1>${heading}</h1>
<form method="get" action="${page.url(name)}" class="filters">
<label>Period <select name="days">
% for period in periods:
<option value="${period}"${' selected' if period == days else ''}>${period} days</option>
% endfor
</select></label><button>Show</button>
</form>
<h2 id="by-day">Slot time by day</h2>
% if most > 0:
<% width = max(3, 900 // days) %>\
<div class="wide" role="region" aria-labelledby="by-day" tabindex="0">
<svg width="${width * days + 20}" height="150" viewBox="0 0 ${width * days + 20} 150" role="img" aria-label="Slot time of each day, at most ${words.seconds(most)}; the table below has the numbers">
<line class="axis" x1="10" y1="130" x2="${width * days + 10}" y2="130"/>
% for number, (day, seconds) in enumerate(by_day):
% if seconds:
<rect class="bar" x="${10 + number * width}" y="${round(130 - 110 * seconds / most, 1)}" width="${max(2, width - 2)}" height="${round(110 * seconds / most, 1)}"><title>${day}: ${words.seconds(seconds)}</title></rect>
% endif
% endfor
<text x="10" y="146">${by_day[0][0]}</text><text x="${width * days + 10}" y="146" text-anchor="end">${by_day[-1][0]}</text>
<text x="10" y="14">${words.seconds(most)}</text>
</svg>
</div>
% else:
<p>None was used.</p>
% endif
<h2>Accounts</h2>
<div class="wide" role="region" aria-label="Accounts" tabindex="0">
<table>
<thead><tr><th scope="col">Account</th><th scope="col" class="number">Slot time</th><th scope="col" class="number">Jobs</th>\
<th scope="col" class="number">Running</th><th scope="col">Last day</th>
% if name == "usage":
<th scope="col">Do</th>
% endif
</tr></thead>
<tbody>
% for account, used in accounts:
<tr><th scope="row"><a href="${page.url(jobs_page, account=account)}">${account}</a></th>
<td class="number">${words.seconds(used["seconds"])}</td><td class="number">${used["jobs"]}</td>
<td class="number">${used["running"]}</td><td class="time">${used["last"]}</td>
% if name == "usage":
<td><details><summary>Cancel all …</summary><form method="post" action="${page.url('usage', account, 'cancel')}">${parts.csrf()}
<button class="danger">Cancel the queued and running jobs of ${account}</button></form></details></td>
% endif
</tr>
% endfor
</tbody>
</table>
</div>
<h2>By day, account, instance and executor</h2>
<div class="wide" role="region" aria-label="Usage by day" tabindex="0">
<table>
<thead><tr><th scope="col">Day</th><th scope="col">Account</th><th scope="col">Instance</th><th scope="col">Executor</th>\
<th scope="col" class="number">Slot time</th><th scope="col" class="number">Jobs</th></tr></thead>
<tbody>
% for row in rows[::-1][:1000]:
<tr><td class="time">${row["day"]}</td><td>${row["account"]}</td><td>${row["instance"].split(":")[-3]}</td>
<td>${row["executor"]}</td><td class="number">${words.seconds(row["seconds"])}</td><td class="number">${row["jobs"]}</td></tr>
% endfor
</tbody>
</table>
</div>
