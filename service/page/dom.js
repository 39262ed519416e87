// Creates elements. Strings become text, never markup.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

/** Create an element with attributes and children. String children become text. */
export function make(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

/** Isolate a text, which can be written from right to left, from the text around it. */
export const isolate = (text) => make("bdi", {}, text);

/** Create an SVG element. */
export function draw(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Create a name and a number above a bar, which is filled up to `part`, from 0 to 1. */
export function meter(name, text, part) {
  const bar = make("i");
  bar.style.setProperty("--part", part);
  return make("div", { class: "measure" }, make("span", {}, name), make("b", {}, text),
    make("div", { class: "meter", "aria-hidden": "true" }, bar));
}

/**
 * Fill a table with a head and rows. The columns at `quantities` are aligned as numbers. Each cell has the title of its
 * column, for layouts without a table head.
 */
export function fillTable(table, head, rows, quantities = []) {
  const kind = (column) => (quantities.includes(column) ? { class: "quantity" } : {});
  table.replaceChildren(
    make("thead", {}, make("tr", {}, ...head.map((title, column) => make("th", { scope: "col", ...kind(column) }, title)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, column) =>
      make("td", { "data-title": head[column], ...kind(column) }, typeof cell === "string" ? isolate(cell) : cell))))),
  );
}

/** Fill a select with options, given as pairs of value and text. */
export function fillSelect(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value, ...(value === chosen ? { selected: "" } : {}) }, text)));
}

// The parts of a formula: subscripts, superscripts, and the sizes of what it computes.
export const sub = (text) => make("sub", {}, text);
export const sup = (text) => make("sup", {}, text);
export const sizes = (text) => make("span", { class: "size" }, text);
