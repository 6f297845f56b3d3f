"use strict";

/** Bonds, odd rings and defects of the shown frame; `all` are the columns of the atoms. */
function makeLayers(models, settings, all) {
  const byId = (id) => document.getElementById(id);
  const data = (name) => models[name].data;
  const ringFirst = [0];
  data("ring_sizes").size.forEach((size) => ringFirst.push(ringFirst.at(-1) + size));
  const word = (name, row) => settings.defect_words[name][data("defects")[name][row]];
  const digits = (value, n) => (Number.isFinite(value) ? value.toFixed(n) : "–");
  const range = (starts, frame) => Array.from(
    { length: starts[frame + 1] - starts[frame] }, (_, i) => starts[frame] + i,
  );

  function showBonds(frame) {
    const { a, b } = data("bonds");
    const [start, end] = settings.bond_starts.slice(frame, frame + 2);
    const first = settings.starts[frame];
    const apart = 0.3; // share of a bond that the rings around its atoms cover
    // One line with gaps: x, y of both ends, then nothing.
    const x = new Float32Array(3 * (end - start)).fill(NaN);
    const y = new Float32Array(3 * (end - start)).fill(NaN);
    for (let bond = start; bond < end; bond++) {
      const at = 3 * (bond - start);
      const [i, j] = [first + a[bond], first + b[bond]];
      [apart, 1 - apart].forEach((share, side) => {
        x[at + side] = all.x_px[i] + share * (all.x_px[j] - all.x_px[i]);
        y[at + side] = all.y_px[i] + share * (all.y_px[j] - all.y_px[i]);
      });
    }
    models.bond_lines.data = { x, y };
  }

  function showRings(frame) {
    const first = settings.starts[frame];
    const sizes = data("ring_sizes").size;
    const rings = range(settings.ring_starts, frame);
    const along = (axis) => rings.map((ring) => Array.from(
      data("ring_atoms").atom.slice(ringFirst[ring], ringFirst[ring + 1]),
      (atom) => all[axis][first + atom],
    ));
    const [xs, ys] = [along("x_px"), along("y_px")];
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    models.ring_shapes.data = {
      xs, ys, x: xs.map(mean), y: ys.map(mean),
      size: rings.map((ring) => String(sizes[ring])),
      colour: rings.map((ring) => settings.ring_colours[sizes[ring]]),
    };
  }

  function showDefects(frame, least) {
    const { x_px: x, y_px: y, radius, p, known } = data("defects");
    const rows = range(settings.defect_starts, frame).filter((row) => !(p[row] < least));
    models.defect_shapes.data = {
      x: rows.map((row) => x[row]),
      y: rows.map((row) => y[row]),
      top: rows.map((row) => y[row] - radius[row]),
      radius: rows.map((row) => radius[row]),
      row: rows,
      colour: rows.map((row) => settings.defect_colours[known[row]]),
      name: rows.map((row) => word("name", row)),
    };
  }

  const texts = {
    title: (row) => word("name", row),
    formula: (row) => word("formula", row),
    place(row) {
      const { x_px: x, y_px: y } = data("defects");
      return `x ${digits(x[row], 1)}, y ${digits(y[row], 1)} px`;
    },
    numbers: (row) => `p ${digits(data("defects").p[row], 3)}, ${data("defects").n_atoms[row]} atoms`,
    rule: (row) => (data("defects").known[row] ? `rule ${word("rule", row)}` : "named by no rule"),
  };
  window.describeDefect = (row, what) => texts[what](row);

  /** Let a switch show and hide what it stands for. */
  function wire(id, glyphs) {
    const box = byId(id);
    if (!box) return;
    box.addEventListener("change", () => glyphs.forEach((name) => {
      models[name].visible = box.checked;
    }));
  }
  wire("show-bonds", ["bond_glyph"]);
  wire("show-rings", ["ring_glyph", "size_glyph"]);
  wire("show-defects", ["defect_glyph", "defect_halo", "name_glyph"]);

  return {
    show(frame, least) {
      showBonds(frame);
      showRings(frame);
      showDefects(frame, least);
    },
    showDefects,
    /** Names are read only where there is room for them. */
    adapt(pixels) {
      models.size_glyph.visible = pixels > 5 && byId("show-rings")?.checked !== false;
      models.name_glyph.visible = pixels > 2 && byId("show-defects")?.checked !== false;
    },
    /** The next defect of a name after a frame and a row: [frame, row], or null. */
    next(name, frame, row) {
      const frames = settings.defect_starts.length - 1;
      for (let step = 0; step <= frames; step++) {
        const index = (frame + step) % frames;
        const found = range(settings.defect_starts, index)
          .find((at) => word("name", at) === name && (step > 0 || at > row));
        if (found !== undefined) return [index, found];
      }
      return null;
    },
    place: (row) => ({
      x: data("defects").x_px[row], y: data("defects").y_px[row], radius: data("defects").radius[row],
    }),
  };
}
