// The page: a recording goes to the service, and what it answers is shown.
"use strict";

const by = (id) => document.getElementById(id);
const past = [], chosen = {};
let known = { machines: [] }, shown = null, last = null, recording = null, queue = Promise.resolve();

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

const clock = () => new Date().toLocaleTimeString([], { hour12: false });
const hertz = (value) => `${Math.round(value)} Hz`;
const machineNamed = (name) => known.machines.find((one) => one.name === name);
const complain = (text) => { by("message").textContent = text; };
const title = (name) => machineNamed(name).title;

// What is chosen for a machine: a step of its sensitivity; at first the trained one.
function step(name) {
  const { sensitivity } = machineNamed(name);
  return sensitivity[chosen[name] ?? sensitivity.findIndex((one) => one.trained)];
}

// The rule of the service, at the limits that are chosen here.
function decide(name, score) {
  const { threshold, abstain_above: abstain } = step(name);
  return score > threshold ? "anomalous" : score > abstain ? "uncertain" : "normal";
}

async function start() {
  known = await ask("v1/machines");
  by("access").hidden = true;
  by("machine").replaceChildren(...known.machines.map((one) => new Option(one.title, one.name)));
  describe();
}

function describe() {
  const machine = machineNamed(by("machine").value);
  by("sensitivity-part").hidden = !machine;
  if (!machine) return;
  const now = step(machine.name), slider = by("sensitivity");
  by("machine-facts").textContent =
    `threshold ${draw.short(now.threshold)}, from ${machine.normal_clips} normal clips; windows of ${draw.short(known.seconds)} s`;
  slider.max = machine.sensitivity.length - 1;
  slider.value = machine.sensitivity.indexOf(now);
  slider.disabled = machine.sensitivity.length < 2;
  by("trained").disabled = now.trained;
  by("price").textContent = price(now);
  slider.setAttribute("aria-valuetext", price(now));
}

function price({ trained, false_alarms_a_day: daily, at_least: least, at_most: most }) {
  const where = trained ? "As trained" : "On this page alone";
  if (daily === undefined) return `${where}: what it costs in false alarms, no normal clip tells.`;
  return `${where}: ${rounded(daily)} false alarms a day of listening without pause, by the normal clips;` +
    ` between ${rounded(least)} and ${rounded(most)} with 95 % certainty.`;
}

const rounded = (value) => (value < 10 ? draw.short(value) : Math.round(value).toLocaleString("en"));

function choose(index) {
  chosen[by("machine").value] = index;
  describe();
  if (last && last.answer.machine === by("machine").value) tell();
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
  outdate(true);
  const query = new URLSearchParams({ machine, name, explain: "true" });
  try {
    const answer = await ask(`v1/score?${query}`, { method: "POST", body: sound });
    remember({ answer, sound, time: clock() });
  } catch (error) {
    // The service names the recording itself where the recording is at fault.
    complain(error.message.startsWith(name) ? error.message : `${name}: ${error.message}`);
  } finally {
    by("progress").textContent = "";
    by("result").setAttribute("aria-busy", false);
  }
}

// What people say of the verdict goes into the detector's log, and the recording is scored anew.
async function say(kind) {
  const { answer, sound } = last, query = new URLSearchParams({ machine: answer.machine, name: answer.name, kind });
  for (const name of ["was-normal", "was-fault"]) by(name).disabled = true;
  try {
    const now = await ask(`v1/feedback?${query}`, { method: "POST", body: sound });
    known = await ask("v1/machines");
    delete chosen[answer.machine];
    describe();
    await score(sound, answer.name, answer.machine);
    by("said").textContent = `kept as ${now.mark}: ${now.decision} now, threshold ${draw.short(now.threshold)}`;
  } catch (error) {
    by("said").textContent = error.message;
  } finally {
    for (const name of ["was-normal", "was-fault"]) by(name).disabled = false;
  }
}

// What stands there is of a recording before the one that was sent last, until that one is told.
function outdate(old) {
  by("result").classList.toggle("old", old);
  by("earlier").hidden = !old;
  by("result").setAttribute("aria-busy", old);
}

// A row of a table: each cell says what it is, for pages too narrow for columns.
function fill(row, names, cells) {
  row.setAttribute("role", "row");
  cells.forEach((content, place) => {
    const cell = row.insertCell();
    cell.setAttribute("role", "cell");
    cell.dataset.label = names[place];
    cell.append(content);
  });
  return row;
}

function remember(entry) {
  const { answer, time } = entry, row = by("history").insertRow(0);
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = answer.name;
  again.title = "Show again";
  again.addEventListener("click", () => { show(entry); by("result").scrollIntoView(); });
  const decision = decide(answer.machine, answer.score);
  fill(row, ["time", "recording", "machine", "score", "threshold", "decision"], [
    time, again, title(answer.machine), draw.short(answer.score), draw.short(step(answer.machine).threshold), decision,
  ]);
  row.cells[1].className = "name";
  row.cells[3].className = row.cells[4].className = "number";
  row.cells[5].className = decision;
  past.push(answer);
  by("past").hidden = false;
  show(entry);
}

function show(entry) {
  last = entry;
  shown = entry.answer;
  const { answer, sound } = entry;
  by("result").hidden = false;
  outdate(false);
  const player = by("player");
  URL.revokeObjectURL(player.src);
  by("unplayable").hidden = true;
  player.src = URL.createObjectURL(sound);
  const { band_hz: band, span_s: span, start, seconds } = answer.explanation;
  by("part").textContent = answer.windows.length > 1
    ? `The most anomalous of ${answer.windows.length} windows, ${draw.short(start)} to ${draw.short(start + seconds)} s:` : "";
  by("why").textContent =
    `Raised most from ${Math.round(band[0])} to ${hertz(band[1])}, and from ${span[0].toFixed(1)} to ${span[1].toFixed(1)} s.`;
  by("remarks").textContent = (answer.remarks || []).join("; ");
  by("said").textContent = "";
  by("usual-key").hidden = !answer.explanation.usual_db.length;
  showLikeness(answer.explanation);
  tell();
}

// The verdict at the sensitivity that is chosen.
function tell() {
  by("verdict").textContent = by("verdict").className = decide(shown.machine, shown.score);
  const among = shown.percentile === null ? "" : `; ${draw.short(shown.percentile)} % of the normal clips score no higher`;
  by("summary").textContent = `${shown.name} (${title(shown.machine)}): score ${draw.short(shown.score)}, ` +
    `threshold ${draw.short(step(shown.machine).threshold)}${among}`;
  redraw();
}

function showLikeness({ nearest, resembles }) {
  by("likeness").hidden = !nearest.length;
  by("nearest").replaceChildren(...nearest.map((one) => {
    const row = fill(document.createElement("tr"), ["clip", "attributes", "similarity"],
      [one.name, one.attributes || "-", one.similarity.toFixed(3)]);
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
  const { threshold } = step(shown.machine), decision = decide(shown.machine, shown.score);
  draw.distribution(by("distribution"), machineNamed(shown.machine), threshold, shown.score, decision);
  drawSound();
  draw.bars(by("bands"), found.by_band, [hertz(bands[0]), hertz(bands[bands.length - 1])],
    `What each band adds to the score; most from ${hertz(found.band_hz[0])} to ${hertz(found.band_hz[1])}`);
  draw.bars(by("spans"), found.by_span, [`${draw.short(spans[0])} s`, `${draw.short(spans[spans.length - 1])} s`],
    `What each span of time adds to the score; most from ${found.span_s[0].toFixed(1)} to ${found.span_s[1].toFixed(1)} s`);
  by("windows-part").hidden = shown.windows.length < 2;
  if (shown.windows.length > 1) {
    const first = shown.windows[0].start, last = shown.windows[shown.windows.length - 1].start;
    const above = shown.windows.filter((one) => one.score > threshold).length;
    draw.course(by("windows"), shown.windows.map((one) => one.score), threshold,
      [`${draw.short(first)} s`, `${draw.short(last)} s`], `Scores of ${shown.windows.length} windows, ${above} above the threshold`);
  }
  by("trend-key").textContent = `Scores of ${title(shown.machine)}; dashed: the threshold.`;
  const own = past.filter((one) => one.machine === shown.machine).map((one) => one.score);
  draw.course(by("trend"), own, threshold, ["first", `last of ${own.length}`],
    `Scores of ${title(shown.machine)} in this session: ${own.map(draw.short).join(", ")}; threshold ${draw.short(threshold)}`);
}

function drawSound() {
  draw.spectrogram(by("spectrogram"), shown.explanation, by("overlay").checked);
  draw.spectrum(by("spectrum"), shown.explanation);
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
by("sensitivity").addEventListener("input", () => choose(Number(by("sensitivity").value)));
by("trained").addEventListener("click", () => choose(undefined));
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
by("was-normal").addEventListener("click", () => say("false_alarm"));
by("was-fault").addEventListener("click", () => say("missed"));
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
