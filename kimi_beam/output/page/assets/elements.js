// Elements and the words of numbers. What comes from documents is only ever given as text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, of which functions are listeners, and children: elements, texts, or nothing. */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SIGNIFICANT = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

function thin(text) {
  return text.replaceAll(",", "\u202f");
}

function count(number) {
  return thin(WHOLE.format(number));
}

function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function quantity(number) {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  return thin(size >= 1e7 || (size < 1e-3 && size > 0) ? COMPACT.format(number) : SIGNIFICANT.format(number));
}

/** A whole number, exact unless it has more digits than a person reads. */
function large(number) {
  return number < 1e8 ? count(number) : quantity(number);
}

function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  if (part && share < 0.1) return "< 0.1 %";
  if (part < whole && share > 99.9) return "> 99.9 %";
  return `${share.toFixed(part === whole || !part || share >= 99.95 ? 0 : 1)} %`;
}

function dollars(amount) {
  if (amount === null || amount === undefined) return "not known";
  if (!amount) return "$0";
  return `$${amount < 0.01 ? amount.toPrecision(2) : thin(amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }))}`;
}

function seconds(number) {
  if (number < 120) return `${quantity(Number(number.toPrecision(2)))} s`;
  if (number < 7200) return `${quantity(Math.round(number / 6) / 10)} min`;
  return `${quantity(Math.round(number / 360) / 10)} h`;
}
