// Charts, made of a few shapes each. Every one has its numbers in words, for those who do not see it.

/** A bar of shares side by side. Parts are [number, class, words]. */
function shareBar(parts, whole, label) {
  const bar = drawn("svg", { class: "shares", viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": label });
  bar.append(drawn("rect", { class: "ground", width: 100, height: 8 }));
  let at = 0;
  for (const [number, kind, words] of parts) {
    if (!number || !whole) continue;
    const width = (100 * number) / whole;
    bar.append(drawn("rect", { class: kind, x: at, width: Math.max(width, 0.6), height: 8 }, drawn("title", {}, words)));
    at += width;
  }
  return bar;
}

/** The counts of bars as a small picture without axes. */
function sparkline(counts, label) {
  const most = Math.max(...counts, 1);
  const step = 100 / counts.length;
  const bars = counts.map((number, index) => {
    const height = number ? Math.max(1.5, (24 * number) / most) : 0;
    return drawn("rect", { x: index * step + step * 0.08, y: 24 - height, width: step * 0.84, height });
  });
  return drawn("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": label }, bars);
}

/** A histogram with its axis. `words` says a number of the axis. */
function histogram(found, title, words) {
  const { from, width, counts } = found.bars;
  const most = Math.max(...counts, 1);
  const step = 320 / counts.length;
  const bars = counts.map((number, index) => {
    const height = number ? Math.max(1, (90 * number) / most) : 0;
    const low = words(from + index * width);
    const range = counts.length === 1 ? low : `${low} to ${words(from + (index + 1) * width)}`;
    const shape = { x: index * step + 0.5, y: 96 - height, width: Math.max(step - 1, 0.5), height, class: "bar" };
    return drawn("rect", shape, drawn("title", {}, `${range}: ${count(number)}`));
  });
  const axis = [drawn("line", { x1: 0, x2: 320, y1: 96.5, y2: 96.5, class: "axis" })];
  const last = from + counts.length * width;
  const ends = counts.length === 1 ? [[words(from), 160, "middle"]] : [[words(from), 0, "start"], [words((from + last) / 2), 160, "middle"], [words(last), 320, "end"]];
  for (const [text, x, anchor] of ends) axis.push(drawn("text", { x, y: 111, "text-anchor": anchor }, text));
  const told = `${title}: ${count(found.values)} numbers from ${words(found.min)} to ${words(found.max)}, median ${words(found.median)}`;
  const picture = drawn("svg", { class: "histogram", viewBox: "0 0 320 116", role: "img", "aria-label": told }, bars, axis);
  const outside = found.below + found.above;
  return element("figure", {},
    element("figcaption", {}, title),
    picture,
    element("p", { class: "small" }, `median ${words(found.median)} · mean ${words(found.mean)} · most ${words(found.max)}${outside ? ` · ${count(outside)} outside` : ""}`));
}
