<%inherit file="base.mako"/>\
<%def name="title()">Refused</%def>
<h1>That did not work</h1>
<p class="problem" role="alert">${error.message}</p>
<p><a href="${page.url('jobs' if signed_in else 'sign-in')}">${"Back to the jobs" if signed_in else "Sign in"}</a></p>
