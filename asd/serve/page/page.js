// The page: a recording goes to the service, and what it answers is shown.
"use strict";

const by = (id) => document.getElementById(id);
let machines = [], shown = null, recorder = null;
const past = [];

async function ask(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("the service does not answer");
  }
  const answer = await response.json().catch(() => ({ error: `the service answered ${response.status}` }));
  if (response.status === 401) {
    by("access").hidden = false;
    by("token").focus();
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const plain = (name) => name.replace(/_section_00$/, "");
const clock = () => new Date().toLocaleTimeString([], { hour12: false });

async function start() {
  const known = await ask("machines");
  machines = known.machines;
  by("access").hidden = true;
  by("machine").replaceChildren(...machines.map((one) => new Option(plain(one.name), one.name)));
}

async function score(sound, name) {
  by("message").textContent = "listening …";
  const machine = by("machine").value;
  const query = new URLSearchParams({ machine, name, explain: "true" });
  try {
    const answer = await ask(`score?${query}`, { method: "POST", body: sound });
    by("message").textContent = "";
    show(answer, sound);
  } catch (error) {
    by("message").textContent = `${name}: ${error.message}`;
  }
}

function show(answer, sound) {
  shown = answer;
  by("result").hidden = by("past").hidden = false;
  const verdict = by("verdict");
  verdict.textContent = answer.decision;
  verdict.className = answer.decision;
  const among = answer.percentile === null ? "" : `; ${draw.short(answer.percentile)} % of the normal clips score no higher`;
  by("summary").textContent =
    `${answer.name}: score ${draw.short(answer.score)}, threshold ${draw.short(answer.threshold)}${among}`;
  const player = by("player");
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(sound);
  const { band_hz: band, span_s: span, nearest } = answer.explanation;
  by("why").textContent =
    `Most from ${Math.round(band[0])} to ${Math.round(band[1])} Hz, and from ${span[0].toFixed(1)} to ${span[1].toFixed(1)} s.`;
  by("nearest").replaceChildren(...nearest.map((one) => {
    const item = document.createElement("li");
    item.textContent = `${one.name} (${one.similarity.toFixed(3)})${one.attributes ? ` ${one.attributes}` : ""}`;
    return item;
  }));
  past.push(answer);
  const row = by("history").insertRow(0);
  const cells = [clock(), answer.name, plain(answer.machine), draw.short(answer.score),
    draw.short(answer.threshold), answer.decision];
  for (const text of cells) row.insertCell().textContent = text;
  row.lastChild.className = answer.decision;
  redraw();
}

function redraw() {
  if (!shown) return;
  const machine = machines.find((one) => one.name === shown.machine), found = shown.explanation;
  draw.distribution(by("distribution"), machine, shown.score, shown.decision);
  drawSound();
  const edges = found.band_edges_hz, spans = found.span_edges_s;
  draw.bars(by("bands"), found.by_band, [`${Math.round(edges[0])} Hz`, `${Math.round(edges[edges.length - 1])} Hz`]);
  draw.bars(by("spans"), found.by_span, [`${draw.short(spans[0])} s`, `${draw.short(spans[spans.length - 1])} s`]);
  by("windows-part").hidden = shown.windows.length < 2;
  if (shown.windows.length > 1) {
    draw.course(by("windows"), shown.windows.map((one) => one.score), shown.threshold, "threshold");
  }
  const own = past.filter((one) => one.machine === shown.machine);
  draw.course(by("trend"), own.map((one) => one.score), shown.threshold, "threshold");
}

function drawSound() {
  draw.spectrogram(by("spectrogram"), shown.explanation, by("overlay").checked, by("player").paused ? -1 : by("player").currentTime);
}

function follow() {
  drawSound();
  if (!by("player").paused) requestAnimationFrame(follow);
}

// 16-bit WAV of one channel, which the service reads without further programs.
function wav(blocks, rate) {
  const count = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const block of blocks) {
    for (const value of block) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(value * 32767))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

async function record() {
  const button = by("record");
  if (recorder) {
    const { blocks, context, stream } = recorder;
    recorder = null;
    button.textContent = "record";
    button.classList.remove("running");
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
    await score(wav(blocks, context.sampleRate), `recorded ${clock()}`);
    return;
  }
  try {
    // What a telephone does to a voice would change the machine.
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const context = new AudioContext(), blocks = [];
    const tap = context.createScriptProcessor(4096, 1, 1);
    tap.onaudioprocess = (event) => blocks.push(event.inputBuffer.getChannelData(0).slice());
    context.createMediaStreamSource(stream).connect(tap);
    tap.connect(context.destination);
    recorder = { blocks, context, stream };
    button.textContent = "stop";
    button.classList.add("running");
  } catch (error) {
    by("message").textContent = `the microphone cannot be used (${error.message})`;
  }
}

by("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", by("token").value);
  start().then(() => { by("message").textContent = ""; }, (error) => { by("message").textContent = error.message; });
});
by("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) score(file, file.name);
});
by("drop").addEventListener("dragover", (event) => { event.preventDefault(); by("drop").classList.add("over"); });
by("drop").addEventListener("dragleave", () => by("drop").classList.remove("over"));
by("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  by("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) score(file, file.name);
});
by("record").addEventListener("click", record);
by("overlay").addEventListener("change", drawSound);
by("player").addEventListener("play", follow);
by("player").addEventListener("pause", () => shown && drawSound());
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
if (!navigator.mediaDevices) {
  by("record").disabled = true;
  by("microphone").textContent = "Recording needs a microphone, and https or this computer itself.";
}
start().catch((error) => { by("message").textContent = error.message; });
