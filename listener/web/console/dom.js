// What is drawn goes through here: elements, and texts that are only ever texts.

/**
 * An element. `properties` are attributes; `class` as in HTML, true and false set and leave out, a function under
 * `on…` listens. Children are nodes or texts.
 */
export function make(tag, properties = {}, ...children) {
  return dressed(document.createElement(tag), properties, children);
}

/** The same in the namespace of SVG. */
export function draw(tag, properties = {}, ...children) {
  return dressed(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function dressed(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** The element of this id. */
export const by = (id) => document.getElementById(id);

/** Write a text where it differs: what is selected or read aloud is left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide an element. */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Make the items of a list say these texts. */
export function setList(list, texts) {
  while (list.children.length > texts.length) list.lastChild.remove();
  while (list.children.length < texts.length) list.append(make("li"));
  texts.forEach((text, at) => setText(list.children[at], text));
}

/** Put these terms and descriptions into a `dl`: `[term, figure, more]` each. */
export function setTerms(list, terms) {
  while (list.children.length > terms.length) list.lastChild.remove();
  while (list.children.length < terms.length) {
    list.append(make("div", {}, make("dt"), make("dd", { class: "figure" }), make("dd", { class: "more" })));
  }
  terms.forEach((texts, at) => {
    [...list.children[at].children].forEach((part, place) => setText(part, texts[place] ?? ""));
    list.children[at].lastChild.hidden = !texts[2];
  });
}

/** How many rows a page of a long table has: about two screens of them. */
export const pageSize = () => (matchMedia("(max-width: 44rem)").matches ? 10 : 25);
