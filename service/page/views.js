// The views of the page: tabs that the fragment of the address selects, so that links and the back button work.

import { byId } from "./dom.js";

const PANEL = "[role=tabpanel]";
const tabs = [...document.querySelectorAll("[role=tab]")];

/** Show the view that contains the element with this id, by default the first view, and scroll to the element. */
export function showView(id) {
  const target = document.getElementById(id);
  const panel = target?.closest(PANEL) ?? document.querySelector(PANEL);
  for (const tab of tabs) {
    const selected = tab.hash === `#${panel.id}`;
    tab.ariaSelected = String(selected);
    tab.tabIndex = selected ? 0 : -1;
    byId(tab.hash.slice(1)).hidden = !selected;
    if (selected) document.title = `${tab.textContent} \u00b7 sentiment-conv1d`;
  }
  if (target && target !== panel) {
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  } else {
    scrollTo({ top: 0, behavior: "instant" });
  }
}

/** Go to the view that contains the element with this id. The back button returns. */
export function goTo(id) {
  if (location.hash !== `#${id}`) history.pushState(null, "", `#${id}`);
  showView(id);
}

/** Make the tabs one tab stop. Arrow keys, Home and End move between them, and the space bar selects one. */
export function walkTabs() {
  const list = document.querySelector("[role=tablist]");
  list.addEventListener("click", (event) => {
    if (!tabs.includes(event.target) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // following the link would take the focus from the tab
    goTo(event.target.hash.slice(1));
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target);
    const next = { ArrowRight: (at + 1) % tabs.length, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === " ") event.target.click();
    else if (next !== undefined) tabs.at(next).focus();
    else return;
    event.preventDefault();
  });
}
