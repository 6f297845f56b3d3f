/** Wire the controls of the page to the models of the figure. */
function startPage({
  viewer, picture, shown, everything, halo, rings, layers: models, marks, settings,
}) {
  const byId = (id) => document.getElementById(id);
  const pictures = JSON.parse(byId("pictures").textContent);
  const all = everything.data;
  const classBoxes = [...document.querySelectorAll("[data-class]")];
  const layers = makeLayers(models, settings, all);
  const leastP = () => Number(byId("least-p").value);
  let frame = 0;

  const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
  const error = (value, digits) => (Number.isFinite(value) ? ` ± ${value.toFixed(digits)}` : "");
  const place = (row, scale, digits) => ["x", "y"]
    .map((axis) => `${axis} ${number(all[`${axis}_px`][row] * scale, digits)}`
      + error(all[`${axis}_err_px`][row] * scale, digits))
    .join(", ");
  const word = (name, row) => (settings.words[name] ? settings.words[name][all[name][row]] : "");

  const texts = {
    title(row) {
      const species = word("species", row);
      const sure = Number.isFinite(all.species_p[row]) ? ` (${number(all.species_p[row], 2)})` : "";
      return `${species ? `${species}${sure}, ` : ""}atom ${all.atom[row]}`;
    },
    pixels: (row) => `${place(row, 1, 2)} px`,
    lengths: (row) => (settings.pixel_size ? `${place(row, settings.pixel_size, 3)} Å` : ""),
    numbers(row) {
      const intensity = all.intensity[row];
      return `p ${number(all.p[row], 3)}`
        + (Number.isFinite(intensity) ? `, intensity ${Number(intensity.toPrecision(4))}` : "");
    },
    words: (row) => ["structure", "flags"]
      .map((name) => word(name, row)).filter((text) => text !== "").join(", "),
  };
  window.describeAtom = (row, what) => texts[what](row);

  const isCrowded = () => settings.starts[frame + 1] - settings.starts[frame] > settings.most;

  function wantedRows() {
    const least = leastP();
    const classes = new Set(classBoxes.filter((b) => b.checked).map((b) => Number(b.dataset.class)));
    const { x_range: x, y_range: y } = viewer;
    const everywhere = !isCrowded();
    const inView = (row) => all.x_px[row] >= x.start && all.x_px[row] <= x.end
      && all.y_px[row] <= y.start && all.y_px[row] >= y.end;
    const rows = [];
    for (let row = settings.starts[frame]; row < settings.starts[frame + 1]; row++) {
      if (classes.has(all.class[row]) && !(all.p[row] < least) && (everywhere || inView(row))) {
        rows.push(row);
      }
    }
    return fairSample(rows, settings.most);
  }

  /** Keep about `most` rows, spread by a hash: every n-th would draw stripes through a lattice. */
  function fairSample(rows, most) {
    if (rows.length <= most) return rows;
    const limit = (most / rows.length) * 2 ** 32;
    return rows.filter((row) => Math.imul(row, 2654435761) >>> 0 < limit);
  }

  function showAtoms() {
    const rows = wantedRows();
    shown.data = {
      x: Float32Array.from(rows, (row) => all.x_px[row]),
      y: Float32Array.from(rows, (row) => all.y_px[row]),
      row: Int32Array.from(rows),
      colour: rows.map((row) => settings.colours[all.class[row]]),
    };
    const total = settings.counts[frame].toLocaleString("en");
    byId("count").textContent = rows.length === settings.counts[frame]
      ? `${total} atoms` : `${rows.length.toLocaleString("en")} of ${total} atoms drawn`;
  }

  let pending = null;
  /** Where not all atoms are drawn, choose again once the view has come to rest. */
  function followView() {
    if (!isCrowded()) return;
    clearTimeout(pending);
    pending = setTimeout(showAtoms, 120);
  }

  function showFrame(index) {
    frame = Math.max(0, Math.min(index, pictures.length - 1));
    picture.data = { url: [pictures[frame]] };
    marks.forEach((mark) => { mark.location = settings.frames[frame]; });
    const text = byId("frame-text");
    if (text) {
      const time = settings.times ? `, ${Number(settings.times[frame].toPrecision(4))} s` : "";
      text.textContent = `frame ${settings.frames[frame]} of ${settings.span[0]}–${settings.span[1]}${time}`;
      byId("frame").value = frame;
    }
    showAtoms();
    layers.show(frame, leastP());
  }

  /** Show the frame of the movie that is nearest to a number, of those that the page holds. */
  window.showMovieFrame = (number) => {
    const away = settings.frames.map((shownFrame) => Math.abs(shownFrame - number));
    showFrame(away.indexOf(Math.min(...away)));
  };

  const span = (start, end) => ({ start, end });

  /** Go to the next defect of a kind and look at it from near. */
  let last = -1;
  function find(name) {
    const found = layers.next(name, frame, last);
    if (found === null) return;
    if (found[0] !== frame) showFrame(found[0]);
    last = found[1];
    const { x, y, radius } = layers.place(last);
    const half = 2.5 * radius * Math.max(1, viewer.inner_width / viewer.inner_height);
    const high = (half * viewer.inner_height) / viewer.inner_width;
    viewer.x_range.setv(span(x - half, x + half));
    viewer.y_range.setv(span(y + high, y - high));
    byId("viewer-card").scrollIntoView({ behavior: "smooth", block: "nearest" });
  }

  /** Fill the viewer with the image at its own aspect. */
  function fit() {
    const { inner_width: width, inner_height: height } = viewer;
    if (!(width > 0 && height > 0)) return;
    const scale = Math.max(settings.width / width, settings.height / height) / 2;
    const x = settings.width / 2 - 0.5;
    const y = settings.height / 2 - 0.5;
    const whole = (start, end) => ({ start, end, reset_start: start, reset_end: end });
    viewer.x_range.setv(whole(x - scale * width, x + scale * width));
    viewer.y_range.setv(whole(y + scale * height, y - scale * height));
  }

  /** Thin the rings where they are small on the screen, so that the columns stay visible. */
  function adaptLines() {
    const pixels = (rings.glyph.radius.value * viewer.inner_width)
      / Math.abs(viewer.x_range.end - viewer.x_range.start);
    const width = Math.round(Math.max(4, Math.min(18, 2.4 * pixels))) / 10;
    layers.adapt(pixels);
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
    layers.showDefects(frame, leastP());
  });
  document.querySelectorAll("[data-frame]").forEach((button) => {
    button.addEventListener("click", () => window.showMovieFrame(Number(button.dataset.frame)));
  });
  document.querySelectorAll("[data-find]").forEach((button) => {
    button.addEventListener("click", () => find(button.dataset.find));
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
  viewer.x_range.change.connect(followView);
  viewer.y_range.change.connect(followView);
  fit();
  adaptLines();
  showFrame(0);
}
