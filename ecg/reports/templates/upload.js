// The form works without this script, which adds the time, files dropped anywhere, and a check of their size.
const form = document.querySelector("form"), button = form.querySelector("button");
const files = document.getElementById("files"), state = document.getElementById("status");
let timer;

function check() {
  const bytes = Array.from(files.files, file => file.size).reduce((sum, size) => sum + size, 0);
  const most = Number(form.dataset.maxMb);
  files.setCustomValidity(bytes > 1e6 * most ? `The files have ${Math.ceil(bytes / 1e6)} MB. Valid: at most ${most} MB.` : "");
}

form.addEventListener("submit", () => {
  const start = Date.now();
  const show = () => { state.textContent = `Annotating the recording: ${Math.floor((Date.now() - start) / 1000)} s`; };
  form.classList.add("working");
  button.disabled = true;
  show();
  timer = setInterval(show, 1000);
});
window.addEventListener("pageshow", () => { // also after a step back to this page
  clearInterval(timer);
  form.classList.remove("working");
  button.disabled = false;
  state.textContent = "";
  check();
});
files.addEventListener("change", check);
document.addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
document.addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files.length && !button.disabled) files.files = event.dataTransfer.files;
  check();
});
