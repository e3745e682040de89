// Drawings on canvases: each fits itself to the size it is shown at, and says in words what it shows.
"use strict";

const draw = (() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const short = (value) => Number(value.toPrecision(3)).toString();
  const FOOT = 20;

  function begin(canvas, says) {
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = pen.strokeStyle = colour("quiet");
    if (says) canvas.setAttribute("aria-label", says);
    return { pen, width, height };
  }

  function line(pen, fromX, fromY, toX, toY, paint, wide = 1) {
    pen.strokeStyle = paint;
    pen.lineWidth = wide;
    pen.beginPath(); pen.moveTo(fromX, fromY); pen.lineTo(toX, toY); pen.stroke();
  }

  // Text that ends at x.
  function ending(pen, text, x, y) {
    pen.fillText(text, x - pen.measureText(text).width, y);
  }

  // An upright line with its text beside it, on the side that is asked for where there is room.
  function mark(pen, x, top, bottom, paint, text, width, row, leftwards) {
    line(pen, x, top, x, bottom, paint, 2);
    pen.fillStyle = paint;
    const y = top + 11 + 15 * row;
    const room = pen.measureText(text).width + 6;
    if (x + room > width || (leftwards && x > room)) ending(pen, text, x - 5, y);
    else pen.fillText(text, x + 5, y);
  }

  // Histogram of normal scores with the threshold and one score.
  function distribution(canvas, machine, limit, score, decision) {
    const { counts, edges } = machine.histogram, known = `, threshold ${short(limit)}`;
    const { pen, width, height } = begin(canvas, `Scores of ${machine.normal_clips} normal clips; this score ${short(score)}${known}`);
    const all = [...edges, score, limit];
    const low = Math.min(...all), high = Math.max(...all), room = (high - low) * 0.04 || 1;
    const x = (value) => ((value - low + room) / (high - low + 2 * room)) * width;
    const floor = height - FOOT, most = Math.max(1, ...counts);
    counts.forEach((count, bin) => {
      const tall = (count / most) * (floor - 34);
      pen.fillStyle = colour("bar");
      pen.fillRect(x(edges[bin]), floor - tall, Math.max(1, x(edges[bin + 1]) - x(edges[bin]) - 1), tall);
    });
    line(pen, 0, floor, width, floor, colour("line"));
    pen.fillStyle = colour("quiet");
    pen.fillText(short(low), 0, height - 4);
    ending(pen, short(high), width, height - 4);
    mark(pen, x(limit), 0, floor, colour("quiet"), `threshold ${short(limit)}`, width, 0, limit < score);
    const paint = colour({ normal: "normal", uncertain: "abstain", anomalous: "alarm" }[decision]);
    mark(pen, x(score), 0, floor, paint, `this recording ${short(score)}`, width, 1, score < limit);
  }

  const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
  const LEFT = 52;
  const pictures = new WeakMap();

  // The levels in grey, a pixel each; from the quietest twentieth to the loudest.
  function picture(level) {
    if (pictures.has(level)) return pictures.get(level);
    const sorted = level.flat().sort((a, b) => a - b);
    const quiet = sorted[Math.floor(0.05 * sorted.length)], loud = sorted[sorted.length - 1];
    const rows = level.length, columns = level[0].length, image = new ImageData(columns, rows);
    level.forEach((row, band) => row.forEach((value, column) => {
      const place = 4 * ((rows - 1 - band) * columns + column);
      image.data.fill(Math.round(255 * Math.min(1, Math.max(0, (value - quiet) / (loud - quiet || 1)))), place, place + 3);
      image.data[place + 3] = 255;
    }));
    const made = new OffscreenCanvas(columns, rows);
    made.getContext("2d").putImageData(image, 0, 0);
    pictures.set(level, made);
    return made;
  }

  // Where seconds and hertz lie on the spectrogram.
  function frame(found, width, height) {
    const edges = found.level_edges_hz, spans = found.span_edges_s;
    const bottom = mel(edges[0]), top = mel(edges[edges.length - 1]);
    const first = spans[0], last = spans[spans.length - 1], tall = height - FOOT;
    return {
      first, last, tall,
      x: (second) => LEFT + ((width - LEFT) * (second - first)) / (last - first),
      y: (hertz) => tall * (1 - (mel(hertz) - bottom) / (top - bottom)),
      second: (x) => first + ((x - LEFT) / (width - LEFT)) * (last - first),
    };
  }

  // Spectrogram; where band and time both raise the score it turns orange.
  function spectrogram(canvas, found, overlay) {
    const { pen, width, height } = begin(canvas, "Spectrogram of the most anomalous window");
    const { first, last, tall, x, y } = frame(found, width, height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture(found.level), LEFT, 0, width - LEFT, tall);
    if (overlay) contributions(pen, found, x, y);
    pitches(pen, found, y, tall);
    const parts = width < 320 ? 2 : 4;
    for (let part = 0; part <= parts; part++) {
      const second = first + (part / parts) * (last - first), text = `${short(second)} s`;
      line(pen, x(second), tall, x(second), tall + 4, colour("quiet"));
      pen.fillText(text, Math.min(x(second) + 2, width - pen.measureText(text).width), height - 4);
    }
  }

  // The axis of frequency, at the left.
  function pitches(pen, found, y, tall) {
    pen.fillStyle = colour("quiet");
    const edges = found.level_edges_hz;
    for (const hertz of [125, 250, 500, 1000, 2000, 4000, 8000, 16000]) {
      if (hertz < edges[0] || hertz > edges[edges.length - 1] * 1.001) continue;
      line(pen, LEFT - 4, y(hertz), LEFT, y(hertz), colour("quiet"));
      ending(pen, hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz`, LEFT - 6, Math.min(tall - 2, Math.max(10, y(hertz) + 4)));
    }
  }

  // Level over frequency beside the spectrogram, and what it usually is; a shade where this sound is louder.
  function spectrum(canvas, found) {
    const { spectrum_db: here, usual_db: usual, level_edges_hz: edges } = found;
    const louder = usual.length ? here.map((level, band) => level - usual[band]) : [];
    const most = louder.indexOf(Math.max(...louder)), middle = (band) => (edges[band] + edges[band + 1]) / 2;
    const against = louder.length ? `; most above the usual at ${Math.round(middle(most))} Hz, by ${short(louder[most])} dB` : "";
    const { pen, width, height } = begin(canvas, `Level over frequency${against}`);
    const { tall, y } = frame(found, width, height);
    const quiet = Math.min(...here, ...usual), right = width - 6;
    const x = (level) => LEFT + 4 + (right - LEFT - 4) * (1 - level / (quiet || -1));
    line(pen, LEFT, 0, LEFT, tall, colour("line"));
    line(pen, LEFT, tall, width, tall, colour("line"));
    pitches(pen, found, y, tall);
    pen.globalAlpha = 0.35;
    louder.forEach((excess, band) => {
      if (excess <= 0) return;
      pen.fillStyle = colour("alarm");
      pen.fillRect(x(usual[band]), y(edges[band + 1]), x(here[band]) - x(usual[band]), y(edges[band]) - y(edges[band + 1]));
    });
    pen.globalAlpha = 1;
    for (const [levels, paint, dashes] of [[usual, "quiet", [5, 4]], [here, "normal", []]]) {
      pen.strokeStyle = colour(paint);
      pen.lineWidth = 2;
      pen.setLineDash(dashes);
      pen.beginPath();
      levels.forEach((level, band) => pen.lineTo(x(level), y(middle(band))));
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.fillStyle = colour("quiet");
    pen.fillText(`${short(quiet)} dB`, LEFT, height - 4);
    ending(pen, "loudest", right, height - 4);
  }

  function contributions(pen, found, x, y) {
    const share = (values) => { const most = Math.max(...values, 1e-12); return values.map((one) => Math.max(0, one) / most); };
    const spans = found.span_edges_s, hertz = found.band_edges_hz, bySpan = share(found.by_span);
    share(found.by_band).forEach((one, band) => bySpan.forEach((other, span) => {
      pen.fillStyle = `rgba(213, 94, 0, ${0.7 * one * other})`;
      const top = y(hertz[band + 1]);
      pen.fillRect(x(spans[span]), top, x(spans[span + 1]) - x(spans[span]), y(hertz[band]) - top);
    }));
  }

  // Where the player is, on a canvas of its own above the spectrogram.
  function cursor(canvas, found, second) {
    const { pen, width, height } = begin(canvas);
    const { first, last, tall, x } = frame(found, width, height);
    if (second >= first && second <= last) line(pen, x(second), 0, x(second), tall, colour("cursor"), 2);
  }

  // The second that lies at a point of the spectrogram.
  const secondAt = (canvas, found, x) => frame(found, canvas.clientWidth, canvas.clientHeight).second(x);

  // Bars upwards and downwards, the text of both ends below.
  function bars(canvas, values, ends, says) {
    const { pen, width, height } = begin(canvas, says);
    const high = Math.max(0, ...values), low = Math.min(0, ...values), floor = height - FOOT;
    const y = (value) => 16 + (floor - 18) * ((high - value) / (high - low || 1));
    values.forEach((value, bin) => {
      pen.fillStyle = colour(value > 0 ? "alarm" : "bar");
      const top = Math.min(y(value), y(0));
      pen.fillRect((bin * width) / values.length, top, width / values.length - 1, Math.max(1, Math.abs(y(value) - y(0))));
    });
    line(pen, 0, y(0), width, y(0), colour("quiet"));
    pen.fillStyle = colour("quiet");
    pen.fillText(`most: ${short(Math.max(...values))}`, 0, 11);
    pen.fillText(ends[0], 0, height - 4);
    ending(pen, ends[1], width, height - 4);
  }

  // Values in order, and a line that they should stay below.
  function course(canvas, values, limit, ends, says) {
    const { pen, width, height } = begin(canvas, says);
    const all = [...values, limit];
    const high = Math.max(...all), low = Math.min(...all), room = (high - low) * 0.12 || Math.abs(high) * 0.1 || 1;
    const floor = height - FOOT, right = width - 10;
    const y = (value) => 6 + (floor - 12) * ((high + room - value) / (high - low + 2 * room));
    const x = (index) => LEFT + 8 + (right - LEFT - 8) * (values.length > 1 ? index / (values.length - 1) : 0.5);
    line(pen, LEFT, 0, LEFT, floor, colour("line"));
    line(pen, LEFT, floor, width, floor, colour("line"));
    for (const value of new Set([high, low])) {
      ending(pen, short(value), LEFT - 6, y(value) + 4);
    }
    pen.setLineDash([5, 4]);
    line(pen, LEFT, y(limit), width, y(limit), colour("quiet"));
    pen.setLineDash([]);
    pen.strokeStyle = colour("normal");
    pen.lineWidth = 2;
    pen.beginPath();
    values.forEach((value, index) => pen.lineTo(x(index), y(value)));
    pen.stroke();
    values.forEach((value, index) => {
      pen.fillStyle = colour(value > limit ? "alarm" : "normal");
      pen.beginPath(); pen.arc(x(index), y(value), values.length > 60 ? 2 : 4, 0, 7); pen.fill();
    });
    pen.fillStyle = colour("quiet");
    pen.fillText(ends[0], LEFT, height - 4);
    ending(pen, ends[1], width, height - 4);
  }

  return { distribution, spectrogram, spectrum, cursor, secondAt, bars, course, short };
})();
