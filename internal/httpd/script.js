// Keeps the page up to date. Without it the page works the same, as it was when it
// was loaded.
"use strict";
(() => {
  const every = 5000;
  const live = document.getElementById("live");
  const say = document.getElementById("said");
  let failures = 0;

  // take puts the new text of a section in the place of the old, unless somebody is
  // in it with the keyboard or the mouse.
  const take = (fresh) => {
    for (const section of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(section.id);
      if (!next || next.innerHTML === section.innerHTML) continue;
      const active = document.activeElement;
      if (active && active !== document.body && section.contains(active)) continue;
      const selection = document.getSelection();
      if (selection && !selection.isCollapsed && section.contains(selection.anchorNode)) continue;
      for (const details of section.querySelectorAll("details[open][id]")) {
        next.querySelector("#" + CSS.escape(details.id))?.setAttribute("open", "");
      }
      section.replaceChildren(...document.adoptNode(next).childNodes);
      section.className = next.className;
    }
    document.title = fresh.title;
    const said = fresh.getElementById("said").textContent;
    if (say.textContent !== said) say.textContent = said;
  };

  const look = async () => {
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      failures = 0;
      live.textContent = "live";
      live.className = "live on";
    } catch {
      failures++;
      live.textContent = failures > 1 ? "no answer: what you see is old" : "live";
      live.className = failures > 1 ? "live off" : "live on";
    }
  };

  const round = async () => {
    if (!document.hidden) await look();
    setTimeout(round, every);
  };
  live.textContent = "live";
  live.className = "live on";
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  setTimeout(round, every);
})();
