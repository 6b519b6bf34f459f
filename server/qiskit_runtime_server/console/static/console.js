// Keeps what a page shows up to date: parts with `data-live` are fetched again every so many seconds, and parts with
// `data-load` until they are there. Pages are whole without it: they then reload themselves, and link to what would be
// loaded.
"use strict";

async function pageAt(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function isUsed(part) {
  const chosen = document.getSelection();
  return part.contains(document.activeElement) || part.querySelector("details[open]") !== null ||
    (chosen !== null && !chosen.isCollapsed && part.contains(chosen.anchorNode));
}

function keepUpToDate(part) {
  const again = async () => {
    if (document.hidden || isUsed(part)) return setTimeout(again, 1000);
    let next = null;
    try {
      next = (await pageAt(location.href))?.getElementById(part.id);
    } catch { /* The server is away for a moment: look again. */ }
    if (!next) return setTimeout(again, 5000);
    if (isUsed(part)) return setTimeout(again, 1000);
    const place = document.importNode(next, true);
    part.replaceWith(place);
    if (place.dataset.live) return keepUpToDate(place);
    // What was waited for has ended: now there may be more to see.
    if (place.dataset.reload !== undefined) location.reload();
  };
  setTimeout(again, 1000 * Number(part.dataset.live));
}

async function load(part) {
  try {
    const found = (await pageAt(part.dataset.load))?.getElementById("loaded");
    if (!found) return;
    part.replaceChildren(...document.importNode(found, true).childNodes);
    // No worker was free to make it.
    if (found.dataset.again) setTimeout(load, 1000 * Number(found.dataset.again), part);
  } catch { /* The link that is there instead stays. */ }
}

document.querySelectorAll("[data-live]").forEach(keepUpToDate);
document.querySelectorAll("[data-load]").forEach(load);
