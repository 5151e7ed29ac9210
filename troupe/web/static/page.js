"use strict";
// What the server pushes is put into the page piece by piece. Elements that are there already stay, so that focus, places
// in scrolled boxes, what is typed and what is opened stay, too. Without this script the page shows what it was sent.
(() => {
  const pieces = {};
  const fields = ["INPUT", "TEXTAREA", "SELECT"];
  const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || node.dataset.id || "" : "");

  const morph = (old, fresh) => {
    if (fields.includes(old.nodeName)) return; // what somebody types is theirs
    const keeps = (name) => (old.nodeName === "DETAILS" && name === "open") || old.dataset.since;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !keeps(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !keeps(name)) old.setAttribute(name, value);
    }
    if (!old.dataset.since) children(old, fresh);
  };
  const children = (old, fresh) => {
    const known = new Map();
    for (const one of old.children) if (keyOf(one)) known.set(keyOf(one), one);
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const key = keyOf(next);
      let same = key ? known.get(key) : at && !keyOf(at) ? at : null;
      if (same && same.nodeName !== next.nodeName) same = null;
      if (!same) {
        old.insertBefore(next, at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      if (same.nodeType === 1) morph(same, next);
      else if (same.data !== next.data) same.data = next.data;
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };
  const show = (name) => {
    const place = document.getElementById(`part-${name}`);
    if (!place) return;
    const made = document.createElement("template"); // nothing in it runs or is loaded
    made.innerHTML = pieces[name].join("");
    children(place, made.content);
  };

  const link = document.getElementById("link");
  let source = null;
  const listen = () => {
    source = new EventSource(document.body.dataset.events);
    source.onopen = () => { link.textContent = ""; };
    source.onerror = () => { link.textContent = "Not connected. Trying again …"; };
    source.onmessage = (message) => {
      for (const [name, change] of Object.entries(JSON.parse(message.data).parts)) {
        if (change.all) pieces[name] = change.all;
        else if (change.splice) pieces[name].splice(change.splice[0], change.splice[1], ...change.splice[2]);
        else for (const [at, piece] of change.set) pieces[name][at] = piece;
        show(name);
      }
      tick();
    };
  };
  const leave = () => {
    if (source) source.close();
    source = null;
  };
  const tick = () => {
    for (const one of document.querySelectorAll("[data-since]")) {
      const seconds = Math.max(0, Math.floor(Date.now() / 1000 - one.dataset.since));
      one.textContent = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    }
  };

  if (document.body.dataset.events) {
    // Browsers keep few connections to one server: a page that nobody sees needs none.
    document.addEventListener("visibilitychange", () => (document.hidden ? leave() : source || listen()));
    addEventListener("pagehide", leave);
    addEventListener("pageshow", () => {
      for (const one of document.querySelectorAll("button")) one.disabled = false;
      if (!source && !document.hidden) listen();
    });
    setInterval(tick, 1000);
  }
  // Nothing is sent twice.
  document.addEventListener("submit", (event) => {
    for (const one of event.target.querySelectorAll("button")) setTimeout(() => { one.disabled = true; });
  });
})();
