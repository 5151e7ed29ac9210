"use strict";
(() => {
  const data = JSON.parse(document.getElementById("replay-data").textContent);
  const bar = document.getElementById("replay"), gantt = document.querySelector(".gantt");
  const [slider, play, told] = ["input", "button", "output"].map((name) => bar.querySelector(name));
  const last = data.frames.length - 1;
  // Only cards that tell a state are changed: its sign, its word, and the figures, which are those of the end.
  const cards = [...document.querySelectorAll("svg.troupe g[data-id]")].flatMap((group) => {
    const mark = group.querySelector(".mark"), said = group.querySelector(".said"), facts = group.querySelector(".facts");
    if (!mark || !said) return [];
    const [state, way, word] = [group.getAttribute("class"), mark.getAttribute("d"), said.firstChild.nodeValue];
    return [{ id: group.dataset.id, group, mark, said, facts, state, way, word, start: way.match(/^M[-\d.]+ [-\d.]+/)[0] }];
  });
  const show = (at) => {
    const now = Object.assign({}, ...data.frames.slice(0, at + 1).map((frame) => frame.cards));
    for (const card of cards) {
      const [state, word] = at < last ? now[card.id] || ["pending", "pending"] : [card.state, card.word];
      card.group.setAttribute("class", state);
      card.mark.setAttribute("d", at < last ? card.start + data.marks[state] : card.way);
      card.said.firstChild.nodeValue = word;
      if (card.facts) card.facts.style.visibility = at < last ? "hidden" : "";
    }
    const frame = data.frames[at];
    told.textContent = `${frame.at.toFixed(1)} s · ${frame.text}`;
    gantt.style.setProperty("--at", `${Math.min(100, (100 * frame.at) / data.span)}%`);
    gantt.classList.toggle("moving", at < last);
  };
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
  const go = (at) => { slider.value = at; show(+slider.value); if (+slider.value >= last) stop(); };
  slider.max = last;
  slider.value = last;
  slider.addEventListener("input", () => { stop(); show(+slider.value); });
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Pause";
    timer = setInterval(() => go(+slider.value + 1), 350);
    go(+slider.value >= last ? 0 : +slider.value);
  });
  bar.hidden = false;
  show(last);
})();
