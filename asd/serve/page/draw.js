// Drawings on canvases: each fits itself to the size it is shown at.
"use strict";

const draw = (() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const short = (value) => Number(value.toPrecision(3)).toString();

  function begin(canvas) {
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = pen.strokeStyle = colour("text");
    return { pen, width, height };
  }

  function mark(pen, x, top, bottom, paint, text, width, line) {
    pen.strokeStyle = pen.fillStyle = paint;
    pen.lineWidth = 2;
    pen.beginPath(); pen.moveTo(x, top); pen.lineTo(x, bottom); pen.stroke();
    const room = pen.measureText(text).width + 6;
    pen.fillText(text, x + room > width ? x - room : x + 5, top + 11 + 15 * line);
  }

  // Histogram of normal scores with the threshold and one score.
  function distribution(canvas, machine, score, decision) {
    const { pen, width, height } = begin(canvas);
    const { counts, edges } = machine.histogram;
    const all = [...edges, machine.threshold, score];
    const low = Math.min(...all), high = Math.max(...all), room = (high - low) * 0.04 || 1;
    const x = (value) => ((value - low + room) / (high - low + 2 * room)) * width;
    const floor = height - 18, most = Math.max(1, ...counts);
    pen.fillStyle = colour("normal");
    counts.forEach((count, bin) => {
      const tall = (count / most) * (floor - 34);
      pen.fillRect(x(edges[bin]), floor - tall, Math.max(1, x(edges[bin + 1]) - x(edges[bin]) - 1), tall);
    });
    pen.fillStyle = colour("quiet");
    pen.fillText(short(low), 0, height - 4);
    const end = short(high);
    pen.fillText(end, width - pen.measureText(end).width, height - 4);
    mark(pen, x(machine.threshold), 0, floor, colour("quiet"), `threshold ${short(machine.threshold)}`, width, 0);
    mark(pen, x(score), 0, floor, colour(decision === "normal" ? "normal" : "alarm"), `this recording ${short(score)}`, width, 1);
  }

  const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
  const FRAME = { left: 46, bottom: 20 };

  function grey(level) {
    const sorted = level.flat().sort((a, b) => a - b);
    const quiet = sorted[Math.floor(0.05 * sorted.length)], loud = sorted[sorted.length - 1];
    return (value) => Math.round(255 * Math.min(1, Math.max(0, (value - quiet) / (loud - quiet || 1))));
  }

  // Spectrogram; where band and time both raise the score it turns orange.
  function spectrogram(canvas, found, overlay, at) {
    const { pen, width, height } = begin(canvas);
    const rows = found.level_db.length, columns = found.level_db[0].length, shade = grey(found.level_db);
    const image = new ImageData(columns, rows);
    found.level_db.forEach((row, band) => row.forEach((value, column) => {
      const place = 4 * ((rows - 1 - band) * columns + column);
      image.data.fill(shade(value), place, place + 3);
      image.data[place + 3] = 255;
    }));
    const small = new OffscreenCanvas(columns, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    const wide = width - FRAME.left, tall = height - FRAME.bottom;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, FRAME.left, 0, wide, tall);
    const edges = found.level_edges_hz, bottom = mel(edges[0]), top = mel(edges[edges.length - 1]);
    const y = (hertz) => tall * (1 - (mel(hertz) - bottom) / (top - bottom));
    const spans = found.span_edges_s, first = spans[0], last = spans[spans.length - 1];
    const x = (second) => FRAME.left + (wide * (second - first)) / (last - first);
    if (overlay) {
      const share = (values) => { const most = Math.max(...values, 1e-12); return values.map((v) => Math.max(0, v) / most); };
      const bySpan = share(found.by_span), byBand = share(found.by_band);
      byBand.forEach((one, band) => bySpan.forEach((other, span) => {
        pen.fillStyle = `rgba(213, 94, 0, ${0.65 * one * other})`;
        const high = y(found.band_edges_hz[band + 1]);
        pen.fillRect(x(spans[span]), high, x(spans[span + 1]) - x(spans[span]), y(found.band_edges_hz[band]) - high);
      }));
    }
    pen.fillStyle = colour("quiet");
    for (const hertz of [250, 500, 1000, 2000, 4000, 8000, 16000]) {
      if (hertz > edges[0] && hertz <= edges[edges.length - 1]) pen.fillText(`${hertz}`, 4, Math.max(10, y(hertz) + 4));
    }
    pen.fillText("Hz", 4, height - 6);
    for (let part = 0; part <= 4; part++) {
      const second = first + (part / 4) * (last - first), text = `${short(second)} s`;
      pen.fillText(text, Math.min(x(second), width - pen.measureText(text).width), height - 6);
    }
    if (at >= first && at <= last) mark(pen, x(at), 0, tall, colour("alarm"), "", width, 0);
  }

  // Bars upwards and downwards, a label below each end.
  function bars(canvas, values, ends) {
    const { pen, width, height } = begin(canvas);
    const high = Math.max(0, ...values), low = Math.min(0, ...values), tall = height - 18;
    const y = (value) => 2 + (tall - 4) * ((high - value) / (high - low || 1));
    values.forEach((value, bin) => {
      pen.fillStyle = colour(value > 0 ? "alarm" : "quiet");
      const begins = Math.min(y(value), y(0));
      pen.fillRect((bin * width) / values.length, begins, width / values.length - 1, Math.max(1, Math.abs(y(value) - y(0))));
    });
    pen.fillStyle = colour("quiet");
    pen.fillText(ends[0], 0, height - 4);
    pen.fillText(ends[1], width - pen.measureText(ends[1]).width, height - 4);
  }

  // Values in order, and a line that they should stay below.
  function course(canvas, values, limit, text) {
    const { pen, width, height } = begin(canvas);
    const high = Math.max(limit, ...values), low = Math.min(limit, ...values), room = (high - low) * 0.1 || 1;
    const y = (value) => height - 8 - (height - 16) * ((value - low + room) / (high - low + 2 * room));
    const x = (index) => 10 + (width - 20) * (values.length > 1 ? index / (values.length - 1) : 0.5);
    pen.strokeStyle = pen.fillStyle = colour("quiet");
    pen.setLineDash([5, 4]);
    pen.beginPath(); pen.moveTo(0, y(limit)); pen.lineTo(width, y(limit)); pen.stroke();
    pen.setLineDash([]);
    pen.fillText(text, width - pen.measureText(text).width - 4, y(limit) + (y(limit) > height - 20 ? -4 : 13));
    pen.strokeStyle = colour("normal");
    pen.lineWidth = 2;
    pen.beginPath();
    values.forEach((value, index) => pen.lineTo(x(index), y(value)));
    pen.stroke();
    values.forEach((value, index) => {
      pen.fillStyle = colour(value > limit ? "alarm" : "normal");
      pen.beginPath(); pen.arc(x(index), y(value), 4, 0, 7); pen.fill();
    });
  }

  return { distribution, spectrogram, bars, course, short };
})();
