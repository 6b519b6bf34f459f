<%def name="state(job)"><span class="state ${job['status'].lower()}">${job["status"]}</span></%def>

<%def name="csrf()"><input type="hidden" name="csrf" value="${page.csrf}"></%def>

<%def name="tags(job)">\
% for tag in job["tags"]:
<span class="tag">${tag}</span>
% endfor
</%def>

<%def name="refresh(seconds)"><noscript><meta http-equiv="refresh" content="${seconds}"></noscript></%def>
