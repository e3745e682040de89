// The page: a recording goes to the service, and what it answers is shown.
"use strict";

const by = (id) => document.getElementById(id);
const past = [];
let known = { machines: [] }, shown = null, recording = null, queue = Promise.resolve();

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
const hertz = (value) => `${Math.round(value)} Hz`;
const machineNamed = (name) => known.machines.find((one) => one.name === name);
const complain = (text) => { by("message").textContent = text; };
const orDash = (value) => (value === null ? "-" : draw.short(value));

async function start() {
  known = await ask("machines");
  by("access").hidden = true;
  by("machine").replaceChildren(...known.machines.map((one) => new Option(plain(one.name), one.name)));
  describe();
}

function describe() {
  const machine = machineNamed(by("machine").value);
  by("machine-facts").textContent = machine
    ? `threshold ${orDash(machine.threshold)}, from ${machine.normal_clips} normal clips; windows of ${draw.short(known.seconds)} s`
    : "";
}

// One after the other, in the order they came.
function send(sounds) {
  const machine = by("machine").value;
  complain("");
  for (const [sound, name] of sounds) queue = queue.then(() => score(sound, name, machine));
}

async function score(sound, name, machine) {
  if (sound.size > known.max_megabytes * 1e6) {
    complain(`${name}: larger than ${known.max_megabytes} MB; cut the recording, or send it as FLAC`);
    return;
  }
  by("progress").textContent = `scoring ${name} …`;
  const query = new URLSearchParams({ machine, name, explain: "true" });
  try {
    const answer = await ask(`score?${query}`, { method: "POST", body: sound });
    remember({ answer, sound, time: clock() });
  } catch (error) {
    // The service names the recording itself where the recording is at fault.
    complain(error.message.startsWith(name) ? error.message : `${name}: ${error.message}`);
  } finally {
    by("progress").textContent = "";
  }
}

function remember(entry) {
  const { answer, time } = entry, row = by("history").insertRow(0);
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = answer.name;
  again.title = "Show again";
  again.addEventListener("click", () => { show(entry); by("result").scrollIntoView(); });
  const cells = [time, again, plain(answer.machine), draw.short(answer.score), orDash(answer.threshold), answer.decision];
  for (const cell of cells) row.insertCell().append(cell);
  row.cells[1].className = "name";
  row.cells[3].className = row.cells[4].className = "number";
  row.cells[5].className = answer.decision;
  past.push(answer);
  by("past").hidden = false;
  show(entry);
}

function show({ answer, sound }) {
  shown = answer;
  by("result").hidden = false;
  by("verdict").textContent = by("verdict").className = answer.decision;
  const among = answer.percentile === null ? "" : `; ${draw.short(answer.percentile)} % of the normal clips score no higher`;
  by("summary").textContent =
    `${answer.name} (${plain(answer.machine)}): score ${draw.short(answer.score)}, threshold ${orDash(answer.threshold)}${among}`;
  const player = by("player");
  URL.revokeObjectURL(player.src);
  by("unplayable").hidden = true;
  player.src = URL.createObjectURL(sound);
  const { band_hz: band, span_s: span, start, seconds } = answer.explanation;
  by("part").textContent = answer.windows.length > 1
    ? `The most anomalous of ${answer.windows.length} windows, ${draw.short(start)} to ${draw.short(start + seconds)} s:` : "";
  by("why").textContent =
    `Raised most from ${Math.round(band[0])} to ${hertz(band[1])}, and from ${span[0].toFixed(1)} to ${span[1].toFixed(1)} s.`;
  showLikeness(answer.explanation);
  redraw();
}

function showLikeness({ nearest, resembles }) {
  by("likeness").hidden = !nearest.length;
  by("nearest").replaceChildren(...nearest.map((one) => {
    const row = document.createElement("tr");
    for (const text of [one.name, one.attributes || "-", one.similarity.toFixed(3)]) row.insertCell().textContent = text;
    row.cells[0].className = "name";
    row.cells[2].className = "number";
    return row;
  }));
  const parts = Object.entries(resembles).filter(([name]) => name).map(([name, part]) => `${name} ${Math.round(100 * part)} %`);
  by("resembles").textContent = parts.length ? `Among its nearest normal clips: ${parts.join(", ")}.` : "";
}

function redraw() {
  if (!shown) return;
  const found = shown.explanation, bands = found.band_edges_hz, spans = found.span_edges_s;
  draw.distribution(by("distribution"), machineNamed(shown.machine), shown.score, shown.decision);
  drawSound();
  draw.bars(by("bands"), found.by_band, [hertz(bands[0]), hertz(bands[bands.length - 1])],
    `What each band adds to the score; most from ${hertz(found.band_hz[0])} to ${hertz(found.band_hz[1])}`);
  draw.bars(by("spans"), found.by_span, [`${draw.short(spans[0])} s`, `${draw.short(spans[spans.length - 1])} s`],
    `What each span of time adds to the score; most from ${found.span_s[0].toFixed(1)} to ${found.span_s[1].toFixed(1)} s`);
  by("windows-part").hidden = shown.windows.length < 2;
  if (shown.windows.length > 1) {
    const first = shown.windows[0].start, last = shown.windows[shown.windows.length - 1].start;
    const above = shown.windows.filter((one) => one.anomalous).length;
    draw.course(by("windows"), shown.windows.map((one) => one.score), shown.threshold,
      [`${draw.short(first)} s`, `${draw.short(last)} s`], `Scores of ${shown.windows.length} windows, ${above} above the threshold`);
  }
  const own = past.filter((one) => one.machine === shown.machine).map((one) => one.score);
  draw.course(by("trend"), own, shown.threshold, ["first", `last of ${own.length} on ${plain(shown.machine)}; dashed: threshold`],
    `Scores of ${plain(shown.machine)} in this session: ${own.map(draw.short).join(", ")}; threshold ${orDash(shown.threshold)}`);
}

function drawSound() {
  draw.spectrogram(by("spectrogram"), shown.explanation, by("overlay").checked);
  drawCursor();
}

function drawCursor() {
  if (shown) draw.cursor(by("cursor"), shown.explanation, by("player").currentTime);
}

function follow() {
  drawCursor();
  if (!by("player").paused) requestAnimationFrame(follow);
}

async function record() {
  const button = by("record");
  button.disabled = true;
  try {
    if (recording) {
      const sound = await recording.stop();
      recording = null;
      send([[sound, `recorded ${clock()}`]]);
    } else {
      complain("");
      recording = await microphone.start();
    }
  } catch (error) {
    complain(`the microphone cannot be used (${error.message})`);
  }
  button.disabled = false;
  button.textContent = recording ? "Stop and score" : "Record";
  button.classList.toggle("running", Boolean(recording));
  tellTime();
}

function tellTime() {
  by("microphone").textContent = recording ? `recording, ${recording.seconds().toFixed(0)} s` : "";
  if (recording) setTimeout(tellTime, 250);
}

by("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", by("token").value);
  start().then(() => complain(""), (error) => complain(error.message));
});
by("machine").addEventListener("change", describe);
by("file").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  send(files.map((file) => [file, file.name]));
});
by("drop").addEventListener("dragover", (event) => { event.preventDefault(); by("drop").classList.add("over"); });
by("drop").addEventListener("dragleave", () => by("drop").classList.remove("over"));
by("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  by("drop").classList.remove("over");
  send([...event.dataTransfer.files].map((file) => [file, file.name]));
});
by("record").addEventListener("click", record);
by("overlay").addEventListener("change", () => { by("key").hidden = !by("overlay").checked; drawSound(); });
by("player").addEventListener("play", follow);
by("player").addEventListener("timeupdate", drawCursor);
by("player").addEventListener("seeking", drawCursor);
by("player").addEventListener("error", () => { by("unplayable").hidden = false; });
by("cursor").addEventListener("click", (event) => {
  by("player").currentTime = Math.max(0, draw.secondAt(by("cursor"), shown.explanation, event.offsetX));
});
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
if (!microphone.possible()) {
  by("record").disabled = true;
  by("microphone").textContent = "Recording needs a microphone, and a page that comes over https or from this computer.";
}
start().catch((error) => complain(error.message));
