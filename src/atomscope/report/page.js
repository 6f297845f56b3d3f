"use strict";

/** Wire the controls of the page to the models of the figure. */
function startPage({ viewer, picture, shown, everything, halo, rings, mark, settings }) {
  const byId = (id) => document.getElementById(id);
  const pictures = JSON.parse(byId("pictures").textContent);
  const all = everything.data;
  const classBoxes = [...document.querySelectorAll("[data-class]")];
  let frame = 0;

  const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
  const error = (value, digits) => (Number.isFinite(value) ? ` ± ${value.toFixed(digits)}` : "");
  const pair = (row, scale, digits) => ["x", "y"]
    .map((axis) => `${axis} ${number(all[`${axis}_px`][row] * scale, digits)}`
      + error(all[`${axis}_err_px`][row] * scale, digits))
    .join(",  ");

  function title(row) {
    const species = settings.words.species ? settings.words.species[all.species[row]] : "";
    const sure = species && Number.isFinite(all.species_p[row])
      ? ` (${number(all.species_p[row], 2)})` : "";
    return `${species ? `${species}${sure}, ` : ""}atom ${all.atom[row]}`;
  }

  function numbers(row) {
    const parts = [`p ${number(all.p[row], 3)}`];
    if (Number.isFinite(all.intensity[row])) {
      parts.push(`intensity ${Number(all.intensity[row].toPrecision(4))}`);
    }
    return parts.join(",  ");
  }

  const words = (row) => ["defect", "structure", "flags"]
    .filter((name) => settings.words[name])
    .map((name) => settings.words[name][all[name][row]])
    .filter((text) => text !== "")
    .join(", ");

  function wantedRows() {
    const least = Number(byId("least-p").value);
    const classes = new Set(classBoxes.filter((b) => b.checked).map((b) => Number(b.dataset.class)));
    const rows = [];
    for (let row = settings.starts[frame]; row < settings.starts[frame + 1]; row++) {
      if (classes.has(all.class[row]) && !(all.p[row] < least)) rows.push(row);
    }
    return rows;
  }

  function showAtoms() {
    const rows = wantedRows();
    const scale = settings.pixel_size;
    shown.data = {
      x: Float32Array.from(rows, (row) => all.x_px[row]),
      y: Float32Array.from(rows, (row) => all.y_px[row]),
      colour: rows.map((row) => settings.colours[all.class[row]]),
      title: rows.map(title),
      place: rows.map((row) => `${pair(row, 1, 2)} px`),
      angstrom: rows.map((row) => (scale === null ? "" : `${pair(row, scale, 3)} Å`)),
      numbers: rows.map(numbers),
      words: rows.map(words),
    };
    const total = settings.counts[frame];
    byId("count").textContent = rows.length === total
      ? `${total.toLocaleString("en")} atoms`
      : `${rows.length.toLocaleString("en")} of ${total.toLocaleString("en")} atoms`;
  }

  function showFrame(index) {
    frame = Math.max(0, Math.min(index, pictures.length - 1));
    picture.data = { url: [pictures[frame]] };
    if (mark) mark.location = settings.frames[frame];
    const text = byId("frame-text");
    if (text) {
      const time = settings.times ? `, ${Number(settings.times[frame].toPrecision(4))} s` : "";
      text.textContent = `frame ${settings.frames[frame]} of 0–${settings.n_frames - 1}${time}`;
      byId("frame").value = frame;
    }
    showAtoms();
  }

  /** Fill the viewer with the image at its own aspect. */
  function fit() {
    const { inner_width: width, inner_height: height } = viewer;
    if (!(width > 0 && height > 0)) return;
    const scale = Math.max(settings.width / width, settings.height / height) / 2;
    const x = settings.width / 2 - 0.5;
    const y = settings.height / 2 - 0.5;
    const place = (start, end) => ({ start, end, reset_start: start, reset_end: end });
    viewer.x_range.setv(place(x - scale * width, x + scale * width));
    viewer.y_range.setv(place(y + scale * height, y - scale * height));
  }

  /** Thin the rings where they are small on the screen, so that the columns stay visible. */
  function adaptLines() {
    const pixels = (rings.glyph.radius.value * viewer.inner_width)
      / Math.abs(viewer.x_range.end - viewer.x_range.start);
    const width = Math.round(Math.max(4, Math.min(18, 2.4 * pixels))) / 10;
    if (Math.abs(rings.glyph.line_width.value - width) < 0.05) return;
    rings.glyph.line_width = { value: width };
    halo.glyph.line_width = { value: 2.2 * width };
  }

  function play() {
    let timer = null;
    const button = byId("play");
    button.addEventListener("click", () => {
      if (timer === null) {
        timer = setInterval(() => showFrame((frame + 1) % pictures.length), 300);
      } else {
        clearInterval(timer);
        timer = null;
      }
      button.textContent = timer === null ? "▶" : "❚❚";
    });
  }

  byId("show-atoms").addEventListener("change", (event) => {
    halo.visible = event.target.checked;
    rings.visible = event.target.checked;
  });
  classBoxes.forEach((box) => box.addEventListener("change", showAtoms));
  byId("least-p").addEventListener("input", (event) => {
    byId("least-p-text").textContent = event.target.value;
    showAtoms();
  });
  if (pictures.length > 1) {
    byId("frame").addEventListener("input", (event) => showFrame(Number(event.target.value)));
    document.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && event.target.tagName !== "INPUT") showFrame(frame + step);
    });
    play();
  }
  viewer.properties.inner_width.change.connect(fit);
  viewer.properties.inner_height.change.connect(fit);
  viewer.x_range.change.connect(adaptLines);
  fit();
  adaptLines();
  showFrame(0);
}
