// Draws the strip of a recording, and the pictures of single beats. Only the visible rows are drawn.
const data = JSON.parse(document.getElementById("data").textContent);
const SECONDS = 10, ROW = 84, MARGIN = 58, AROUND = 0.45;

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function clock(seconds) {
  const two = value => String(Math.floor(value)).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(seconds / 60 % 60)}:${two(seconds % 60)}`;
}

// The first beat at or after a time in ms.
function firstBeat(time, at) {
  let low = 0, high = time.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (time[middle] < at) low = middle + 1; else high = middle;
  }
  return low;
}

// Draws the lead between two times in s; x and y are the corner of the picture.
function trace(context, signal, from, to, x, y, width, height, colour) {
  const first = Math.max(0, Math.floor(from * data.sfreq)), last = Math.min(signal.length - 1, Math.ceil(to * data.sfreq));
  context.strokeStyle = colour;
  context.beginPath();
  for (let i = first; i <= last; i++)
    context.lineTo(x + (i / data.sfreq - from) / (to - from) * width, y + height * (1 - signal[i] / 255));
  context.stroke();
}

// A colour of the style sheet, which depends on the colour scheme.
function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.lineWidth = 1.1;
  context.lineJoin = "round";
  return context;
}

async function main() {
  const signal = new Uint8Array(await unpack(data.signal)), beats = await unpack(data.beats);
  for (let i = 1; i < signal.length; i++) signal[i] += signal[i - 1]; // modulo 256
  const time = new Uint32Array(beats, 0, data.n);
  const label = new Uint8Array(beats, 4 * data.n, data.n);
  const strip = document.getElementById("strip"), canvas = strip.querySelector("canvas");
  const rows = Math.ceil(data.seconds / SECONDS);
  strip.querySelector("div").style.height = `${rows * ROW}px`;

  function draw() {
    const width = strip.clientWidth, height = strip.clientHeight;
    const context = fit(canvas, width, height), scale = (width - MARGIN - 8) / SECONDS;
    context.font = "11px system-ui, sans-serif";
    const ink = themed("--ink"), muted = themed("--muted"), line = themed("--line");
    for (let row = Math.floor(strip.scrollTop / ROW); row < rows && row * ROW < strip.scrollTop + height; row++) {
      const y = row * ROW - strip.scrollTop, from = row * SECONDS, to = Math.min(from + SECONDS, data.seconds);
      context.fillStyle = muted;
      context.fillText(clock(from), 4, y + ROW / 2);
      context.fillStyle = line;
      for (let second = 0; second <= to - from; second++) context.fillRect(MARGIN + second * scale, y + 6, 1, ROW - 12);
      trace(context, signal, from, to, MARGIN, y + 18, (to - from) * scale, ROW - 26, ink);
      for (let i = firstBeat(time, 1000 * (from - AROUND)); i < data.n && time[i] < 1000 * (to + AROUND); i++) {
        const at = time[i] / 1000, name = data.classes[label[i]];
        if (name === "N") continue;
        const a = Math.max(from, at - AROUND / 2), b = Math.min(to, at + AROUND);
        context.lineWidth = 1.8;
        if (a < b) trace(context, signal, a, b, MARGIN + (a - from) * scale, y + 18, (b - a) * scale, ROW - 26,
          data.colours[label[i]]);
        context.lineWidth = 1.1;
        context.fillStyle = data.colours[label[i]];
        if (from <= at && at < to) context.fillText(name, MARGIN + (at - from) * scale - 4, y + 14);
      }
    }
  }

  let waiting = false;
  const later = () => {
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  };
  strip.addEventListener("scroll", later);
  window.addEventListener("resize", later);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
  for (const link of document.querySelectorAll("[data-at]")) {
    link.addEventListener("click", () => {
      strip.scrollTop = Math.max(0, (Math.floor(link.dataset.at / SECONDS) - 1) * ROW);
      later();
    });
  }
  for (const picture of document.querySelectorAll("canvas[data-beat]")) {
    const at = Number(picture.dataset.beat), context = fit(picture, 110, 70);
    const i = firstBeat(time, Math.round(1000 * at));
    trace(context, signal, at - AROUND, at + AROUND, 2, 4, 106, 62, i < data.n ? data.colours[label[i]] : themed("--ink"));
  }
  draw();
  document.body.dataset.drawn = String(signal.length);
}

main();
